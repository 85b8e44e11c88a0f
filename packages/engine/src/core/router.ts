/**
 * The router takes (caller, function id, payload, action) and delivers exactly one answer.
 *
 * Hot path. Rules kept here: a payload is never parsed, no closure per call from a socket, the
 * pending entry exists before the frame leaves. Guarded by the routed-call rows of the benchmarks.
 */
import {
  DEFAULT_NAMESPACE,
  ErrorCode,
  functionNotFound,
  memberText,
  Payload,
  withCaller,
  type ErrorBody,
} from '@trine/protocol';
import type { AccessDecision } from './access.js';
import { CallIds } from './call-ids.js';
import type { Clock, Timer } from './clock.js';
import { HeldCalls, MAX_HELD_CALLS } from './held-calls.js';
import type { Log } from './log.js';
import { PendingCall, RECEIVED, type CallHandle, type CallRecorder, type CallRequest } from './pending-call.js';
import type { Random } from './random.js';
import type { FunctionOwner, Registry } from './registry.js';
import type { Session } from './session.js';
import type { FailureCause, Outcome } from './worker-host.js';

export interface RouterLimits {
  /** Engine-side ceiling for a call without a timeout of its own, in milliseconds. Default 30 min. */
  readonly callCeilingMs: number;
  /** Calls that one session may have in flight. Default 65,536. */
  readonly callsPerSession: number;
}

export const defaultRouterLimits: RouterLimits = { callCeilingMs: 30 * 60_000, callsPerSession: 65_536 };

/** How often calls past the ceiling are looked for while any is pending, in milliseconds. */
const SWEEP_EVERY_MS = 5_000;
/** Timed-out calls whose late answer is still told to a caller that asked for it; then the oldest is forgotten. */
export const MAX_LATE_CALLS = 10_000;

export interface RouteOptions {
  /** The caller's own id for the call; undefined = nobody waits. */
  readonly callerInvocationId: string | undefined;
  /** Add `_caller_worker_id` to an object payload. */
  readonly stampCaller: boolean;
  readonly settle: ((outcome: Outcome) => void) | undefined;
  readonly timeoutMs: number | undefined;
  readonly replicas: boolean;
  /** Gets the call, to watch and cancel it. */
  readonly handle?: CallHandle | undefined;
  /** Told of an answer that comes after `invocation_timeout`, at most once. */
  readonly late?: ((outcome: Outcome) => void) | undefined;
}

export class Router {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #limits: RouterLimits;
  /** By the number in their ids: a map of numbers is faster than one of texts. */
  readonly #pending = new Map<number, PendingCall>();
  readonly #held = new HeldCalls();
  /** Answered with a timeout; a late answer is of use to their caller. */
  readonly #late = new Map<number, PendingCall>();
  readonly mayCall: AccessDecision;
  /** Sees every call that ends; undefined = nobody records, and a call costs nothing for it. */
  recorder: CallRecorder | undefined;
  readonly #ids: CallIds;
  #sweep: Timer | undefined;

  constructor(parts: {
    registry: Registry;
    clock: Clock;
    random: Random;
    log: Log;
    mayCall: AccessDecision;
    limits?: Partial<RouterLimits>;
  }) {
    this.#registry = parts.registry;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#log = parts.log.for('iii::router');
    this.#limits = { ...defaultRouterLimits, ...parts.limits };
    this.mayCall = parts.mayCall;
    this.#ids = new CallIds(parts.random);
    this.#registry.served.on(({ namespace, functionId }) => this.#reroute(namespace, functionId));
  }

  /** Calls on their way. */
  get inFlight(): number {
    return this.#pending.size;
  }

  /** The calls that are on their way at this moment. */
  pendingCalls(): readonly PendingCall[] {
    return [...this.#pending.values()];
  }

  /** Sends a call to the function's serving owner. The answer reaches the caller's session exactly once. */
  call(caller: Session, request: CallRequest, payload: Payload, options: RouteOptions): void {
    const owner =
      (caller.provisional ? ownFunction(caller, request.functionId) : undefined) ??
      (options.replicas
        ? this.#registry.resolveReplica(request.namespace, request.functionId)
        : this.#registry.resolve(request.namespace, request.functionId));
    if (owner === undefined) {
      this.#refuse(caller, request, options, this.#notFound(request), 'not_found');
      return;
    }
    if (caller.waiting.size >= this.#limits.callsPerSession) {
      const message = `${caller.label} has ${caller.waiting.size} calls in flight, which is the limit: wait for answers`;
      this.#refuse(caller, request, options, { code: ErrorCode.tooManyCalls, message }, 'refused');
      return;
    }
    // A built-in knows its caller from the context: its payload is left as it came.
    const stamp = options.stampCaller && owner.session.kind !== 'engine';
    const call = new PendingCall(
      owner.run === undefined ? this.#ids.next() : 0,
      owner,
      caller,
      options.callerInvocationId,
      request,
      stamp ? Payload.fromJson(withCaller(payload.json, caller.id)) : payload,
      this.#clock.monotonic(),
      options.timeoutMs ?? this.#limits.callCeilingMs,
      options.settle,
    );
    options.handle?.hold(this, call);
    if (options.late !== undefined) call.late = options.late;
    if (owner.run !== undefined) {
      // In this process an answer in the same turn is the rule: what needs no waiting is not filed.
      owner.run(call);
      if (call.done) return;
      call.number = this.#ids.next();
    }
    this.#file(call, options.timeoutMs);
    if (owner.run !== undefined) return;
    if (owner.session.state === 'open') owner.session.execute(call);
    else this.#hold(call);
  }

  /** Gives a pending call that has a timeout of its own this much time from now on. */
  extend(call: PendingCall, timeoutMs: number): boolean {
    if (call.done || call.timer === undefined) return false;
    call.timer.cancel();
    call.timer = this.#clock.setTimer(() => this.#timeOut(call, timeoutMs), timeoutMs);
    return true;
  }

  /** The function's owner is away for a moment: the call waits for it, or for another one. */
  #hold(call: PendingCall): void {
    if (this.#held.add(call)) return;
    const message = `worker ${call.executor.label} has lost its connection and ${MAX_HELD_CALLS} calls wait for it, which is the limit`;
    this.fail(call, { code: ErrorCode.tooManyCalls, message }, 'refused');
  }

  /** Another owner serves a function: calls that wait for it go there. */
  #reroute(namespace: string, functionId: string): void {
    for (const call of this.#held.of(namespace, functionId)) {
      const owner = this.#registry.resolve(namespace, functionId);
      if (owner === undefined) {
        this.fail(call, this.#notFound(call), 'not_found');
        continue;
      }
      this.#held.remove(call);
      this.hand(call, owner.session);
      call.owner = owner;
      if (owner.run !== undefined) owner.run(call);
      else if (owner.session.state === 'open') owner.session.execute(call);
      else this.#hold(call);
    }
  }

  /** Gives a call to another session to run. */
  hand(call: PendingCall, to: Session): void {
    call.executor.executing.delete(call);
    call.executor = to;
    to.executing.add(call);
  }

  /** A client came back on another connection: what it ran and what it waits for is that one's. */
  move(from: Session, to: Session): void {
    for (const call of from.executing) {
      if (call.held) continue;
      this.hand(call, to);
      call.written = RECEIVED;
    }
    for (const call of from.waiting) {
      call.caller = to;
      from.waiting.delete(call);
      to.waiting.add(call);
    }
  }

  #file(call: PendingCall, timeoutMs: number | undefined): void {
    this.#pending.set(call.number, call);
    call.executor.executing.add(call);
    call.caller.waiting.add(call);
    if (timeoutMs !== undefined) call.timer = this.#clock.setTimer(() => this.#timeOut(call, timeoutMs), timeoutMs);
    else this.#armSweep();
  }

  /** A pending call by its engine-made id. */
  find(id: string): PendingCall | undefined {
    return this.#pending.get(this.#ids.numberOf(id));
  }

  /** An answer to a call that is not pending any more; of use if it had timed out. */
  answeredLate(id: string, executor: Session, outcome: Outcome): void {
    const call = this.#late.get(this.#ids.numberOf(id));
    if (call?.executor === executor) this.#tellLate(call, outcome);
  }

  /** Ends a call. A second end is ignored: exactly one answer. */
  complete(call: PendingCall, outcome: Outcome): void {
    if (call.done) {
      if (call.late !== undefined) this.#tellLate(call, outcome);
      return;
    }
    call.done = true;
    this.recorder?.ended(call, outcome, this.#clock.monotonic());
    if (call.number !== 0) {
      call.timer?.cancel();
      this.#pending.delete(call.number);
      if (call.held) this.#held.remove(call);
      call.executor.executing.delete(call);
      call.caller.waiting.delete(call);
    }
    call.onEnd?.();
    call.caller.deliver(call, outcome);
  }

  fail(call: PendingCall, error: ErrorBody, cause: FailureCause): void {
    this.complete(call, { ok: false, error, cause });
  }

  /** Ends a call that its caller has no use for any more. What its function answers later is ignored. */
  cancel(call: PendingCall): void {
    this.fail(call, { code: ErrorCode.invocationCancelled, message: `${call.functionId}: the caller gave up` }, 'lost');
  }

  /**
   * The enqueue action: a call of the queue worker with the target inside. The receipt is made here
   * unless the queue answers with one of its own (a job that was there already).
   *
   * @param timeoutMs - how long the caller waits for the receipt; the job may be accepted after it
   */
  enqueue(
    caller: Session,
    queue: string,
    request: CallRequest,
    payload: Payload,
    settle: (outcome: Outcome) => void,
    timeoutMs?: number,
  ): void {
    const receipt = this.#random.uuid();
    const input = Payload.fromMembers({
      queue: JSON.stringify(queue),
      function_id: JSON.stringify(request.functionId),
      data: payload.json,
      messageReceiptId: `"${receipt}"`,
      // Always there: strict providers of this function ask for both.
      traceparent: request.traceparent === undefined ? 'null' : JSON.stringify(request.traceparent),
      baggage: request.baggage === undefined ? 'null' : JSON.stringify(request.baggage),
      namespace: request.namespace === DEFAULT_NAMESPACE ? undefined : JSON.stringify(request.namespace),
      metadata: request.metadata?.json,
    });
    this.call(
      caller,
      {
        functionId: ENQUEUE_FUNCTION,
        namespace: DEFAULT_NAMESPACE,
        metadata: undefined,
        traceparent: request.traceparent,
        baggage: request.baggage,
      },
      input,
      {
        callerInvocationId: undefined,
        stampCaller: false,
        timeoutMs,
        replicas: false,
        settle: (outcome) => settle(enqueueOutcome(outcome, receipt)),
      },
    );
  }

  /** A session is gone: what it ran is answered, what it waited for is dropped. */
  release(session: Session): void {
    for (const call of [...session.executing, ...session.waiting]) {
      this.lose(call, 'Invocation stopped');
    }
  }

  /** The connection to the one who ran a call is gone. */
  lose(call: PendingCall, message: string): void {
    const error = { code: ErrorCode.invocationStopped, message };
    this.complete(call, { ok: false, error, cause: 'lost', worker: call.executor.label });
  }

  /** Answers everything that is still pending; nothing is routed afterwards. */
  stop(): void {
    this.#sweep?.cancel();
    this.#sweep = undefined;
    for (const call of [...this.#pending.values()]) {
      this.fail(
        call,
        { code: ErrorCode.invocationStopped, message: 'Invocation stopped: the engine is shutting down' },
        'lost',
      );
    }
  }

  #refuse(caller: Session, request: CallRequest, options: RouteOptions, error: ErrorBody, cause: FailureCause): void {
    if (options.settle === undefined && options.callerInvocationId === undefined) {
      caller.warn(this.#log, 'call not delivered', {
        function: request.functionId,
        code: error.code,
        error: error.message,
      });
      return;
    }
    const { callerInvocationId, settle } = options;
    const { functionId, traceparent, baggage } = request;
    caller.deliver({ callerInvocationId, settle, functionId, traceparent, baggage }, { ok: false, error, cause });
  }

  #notFound(request: Pick<CallRequest, 'functionId' | 'namespace'>): ErrorBody {
    const body = functionNotFound(request.functionId, request.namespace).toBody();
    const elsewhere = this.#registry
      .namespacesOf(request.functionId)
      .filter((namespace) => namespace !== request.namespace);
    if (elsewhere.length === 0) return body;
    return { ...body, message: `${body.message}. It is registered in namespace(s): ${elsewhere.sort().join(', ')}.` };
  }

  /** What the executor of a filed call knows it by. */
  idOf(call: PendingCall): string {
    return this.#ids.idOf(call.number);
  }

  #timeOut(call: PendingCall, afterMs: number): void {
    const message = `${call.functionId} gave no answer within ${afterMs} ms`;
    if (call.late !== undefined) {
      if (this.#late.size >= MAX_LATE_CALLS) {
        const [oldest] = this.#late.keys();
        this.#late.delete(oldest as number);
      }
      this.#late.set(call.number, call);
    }
    this.fail(call, { code: ErrorCode.invocationTimeout, message }, 'timeout');
  }

  #tellLate(call: PendingCall, outcome: Outcome): void {
    if (this.#late.delete(call.number)) call.late?.(outcome);
  }

  #armSweep(): void {
    this.#sweep ??= this.#clock.setTimer(() => {
      this.#sweep = undefined;
      const now = this.#clock.monotonic();
      for (const call of this.#pending.values()) {
        // Calls with a timer look after themselves; the others are in the order of their deadlines.
        if (call.timer !== undefined) continue;
        if (call.deadline > now) break;
        this.#timeOut(call, this.#limits.callCeilingMs);
      }
      if (this.#pending.size > 0) this.#armSweep();
    }, SWEEP_EVERY_MS);
  }
}

/** What a worker registered is its own at once, whatever namespace it will declare. */
function ownFunction(caller: Session, functionId: string): FunctionOwner | undefined {
  for (const owner of caller.functions) if (owner.id === functionId) return owner;
  return undefined;
}

export const ENQUEUE_FUNCTION = 'engine::queue::enqueue';

/** Codes that a caller of the enqueue action sees as they are. */
const ENQUEUE_CODES: ReadonlySet<string> = new Set([
  ErrorCode.enqueue,
  ErrorCode.forbidden,
  ErrorCode.invalidNamespace,
]);

function enqueueOutcome(outcome: Outcome, receipt: string): Outcome {
  if (outcome.ok) {
    const answered = outcome.result?.json;
    return answered !== undefined && memberText(answered, 'messageReceiptId') !== undefined
      ? outcome
      : { ok: true, result: Payload.fromJson(`{"messageReceiptId":"${receipt}"}`) };
  }
  const { code, message } = outcome.error;
  if (outcome.cause === 'not_found') {
    return enqueueError(
      `No queue provider is installed. \`TriggerAction::Enqueue\` routes through the \`${ENQUEUE_FUNCTION}\` provider, ` +
        `which the queue worker registers. Add it with \`iii worker add queue\`. (underlying: ${message})`,
    );
  }
  return ENQUEUE_CODES.has(code) ? outcome : enqueueError(`${code}: ${message}`, outcome.cause);
}

function enqueueError(message: string, cause: FailureCause = 'handler'): Outcome {
  return { ok: false, error: { code: ErrorCode.enqueue, message }, cause };
}
