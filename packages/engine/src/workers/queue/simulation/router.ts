/**
 * What stands for the router and the workers behind it: functions that come and go, and handlers that
 * run until the scheduler ends them.
 *
 *   running -> over       answered, failed, refused or lost
 *   running -> overdue    its timeout passed: the caller was told so
 *   overdue -> over       it answers late, or its worker goes away
 */
import { Payload } from '@trine/protocol';
import type { Clock, Timer } from '../../../core/clock.js';
import type { PendingCall } from '../../../core/pending-call.js';
import type { InvokeRequest, Outcome, RegistryView } from '../../../core/worker-host.js';

export interface Told {
  readonly receipt: string;
  readonly queue?: string;
  readonly topic?: string;
  readonly attempt: number;
  readonly redelivered: boolean;
  readonly replayed?: boolean;
}

/** One execution of a handler. */
export class Execution {
  readonly functionId: string;
  readonly data: string;
  readonly told: Told;
  state: 'running' | 'overdue' | 'over' = 'running';
  timer: Timer | undefined;

  constructor(
    readonly request: InvokeRequest,
    readonly settled: (outcome: Outcome) => void,
  ) {
    this.functionId = request.functionId;
    this.data = request.payload.json;
    this.told = (JSON.parse(request.metadata?.json ?? '{}') as { queue: Told }).queue;
  }
}

/** The client's log is written here. */
export interface Witness {
  started(execution: Execution): void;
  ended(execution: Execution, how: 'done' | 'failed' | 'timeout' | 'lost' | 'refused'): void;
  late(execution: Execution): void;
}

type FunctionListener = Parameters<RegistryView['onFunction']>[0];

export class Router {
  readonly #clock: Clock;
  readonly #witness: Witness;
  readonly #functions = new Set<string>();
  readonly #listeners = new Set<FunctionListener>();
  /** Running and overdue, the oldest first. */
  readonly executions = new Set<Execution>();

  readonly registry: RegistryView = {
    hasFunction: (functionId) => this.#functions.has(functionId),
    onFunction: (listener) => {
      this.#listeners.add(listener);
      return { remove: () => void this.#listeners.delete(listener) };
    },
    onWorker: () => ({ remove: () => undefined }),
  };

  constructor(clock: Clock, witness: Witness) {
    this.#clock = clock;
    this.#witness = witness;
  }

  has(functionId: string): boolean {
    return this.#functions.has(functionId);
  }

  appear(functionId: string): void {
    if (this.#functions.has(functionId)) return;
    this.#functions.add(functionId);
    this.#tell(functionId, true);
  }

  /** @param lost - its worker is gone, and what ran on it; otherwise it only takes nothing new */
  vanish(functionId: string, lost: boolean): void {
    if (this.#functions.delete(functionId)) this.#tell(functionId, false);
    if (lost) for (const each of this.executions) if (each.functionId === functionId) this.lose(each);
  }

  invoke = (request: InvokeRequest, settled: (outcome: Outcome) => void): void => {
    if (!this.#functions.has(request.functionId)) {
      settled({ ok: false, cause: 'not_found', error: { code: 'function_not_found', message: 'nobody serves it' } });
      return;
    }
    const execution = new Execution(request, settled);
    this.executions.add(execution);
    this.#arm(execution, request.timeoutMs ?? 0);
    request.handle?.hold(
      {
        cancel: () => undefined,
        extend: (_call, timeoutMs) => {
          if (execution.state !== 'running') return false;
          this.#arm(execution, timeoutMs);
          return true;
        },
      },
      execution as unknown as PendingCall,
    );
    this.#witness.started(execution);
  };

  answer(execution: Execution): void {
    const outcome = { ok: true, result: Payload.null } as const;
    if (execution.state === 'overdue') {
      this.#over(execution);
      this.#witness.late(execution);
      execution.request.late?.(outcome);
      return;
    }
    this.#end(execution, 'done', outcome);
  }

  fail(execution: Execution, code = 'invocation_failed'): void {
    if (execution.state === 'overdue') {
      this.#over(execution);
      execution.request.late?.({ ok: false, cause: 'handler', error: { code, message: 'too late' } });
      return;
    }
    this.#end(execution, 'failed', { ok: false, cause: 'handler', error: { code, message: 'on purpose' } });
  }

  refuse(execution: Execution): void {
    if (execution.state === 'overdue') return;
    const error = { code: 'worker_overloaded', message: 'its outbound side is full' };
    this.#end(execution, 'refused', { ok: false, cause: 'refused', error });
  }

  lose(execution: Execution): void {
    if (execution.state === 'overdue') {
      this.#over(execution);
      return;
    }
    const error = { code: 'invocation_stopped', message: 'the connection ended' };
    this.#end(execution, 'lost', { ok: false, cause: 'lost', error, worker: 'a worker' });
  }

  #arm(execution: Execution, timeoutMs: number): void {
    execution.timer?.cancel();
    execution.timer = this.#clock.setTimer(() => {
      if (execution.state !== 'running') return;
      execution.state = 'overdue';
      this.#witness.ended(execution, 'timeout');
      const error = { code: 'invocation_timeout', message: 'no answer in time' };
      execution.settled({ ok: false, cause: 'timeout', error });
    }, timeoutMs);
  }

  #end(execution: Execution, how: 'done' | 'failed' | 'lost' | 'refused', outcome: Outcome): void {
    this.#over(execution);
    this.#witness.ended(execution, how);
    execution.settled(outcome);
  }

  #over(execution: Execution): void {
    execution.state = 'over';
    execution.timer?.cancel();
    this.executions.delete(execution);
  }

  #tell(functionId: string, available: boolean): void {
    for (const listener of this.#listeners) listener({ available, functionId, namespace: 'default' });
  }
}
