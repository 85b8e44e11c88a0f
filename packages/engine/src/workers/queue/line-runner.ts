/**
 * Runs the jobs of one line: at most `concurrency` at once, started as soon as a slot is free.
 *
 * A run:
 *
 *   running -> ended      the handler answered, failed, timed out or was lost: `decide` says what follows
 *   running -> ended      the handler rejected the job (`iii::queue::reject`); its answer is ignored
 *   ended   -> (late)     it had timed out and answers now: the job is done unless it runs again
 *
 * Hot path: one call and one decision per job, the payload stays text.
 */
import { memberText, Payload, toErrorBody, type ErrorBody } from '@trine/protocol';
import { CallHandle } from '../../core/pending-call.js';
import type { Outcome, WorkerHost } from '../../core/worker-host.js';
import type { Broker, Lease, Line } from './adapters/index.js';
import type { JobEvents } from './events.js';
import { decide, rejected, UNDELIVERED_DELAY_MS, type Decision, type Job, type RetryRules } from './job.js';

export interface LinePolicy {
  /** What the handler is told about where its job comes from. */
  readonly place: { readonly queue: string } | { readonly topic: string };
  /** 0 pauses the line. */
  readonly concurrency: number;
  readonly timeoutMs: number;
  readonly rules: RetryRules;
  readonly conditionFunctionId: string | undefined;
  /** Raw JSON text that every handler of this line gets, e.g. a trigger's metadata. */
  readonly metadata: string | undefined;
  /** `replicas`: the least-loaded live owner of the newest one's worker name; `newest`: the newest alone. */
  readonly consumers: 'newest' | 'replicas';
  /** Called with each dead letter after it is stored. */
  readonly deadLetterFunction: string | undefined;
}

export class Run {
  readonly runner: LineRunner;
  readonly lease: Lease;
  readonly policy: LinePolicy;
  readonly timeoutMs: number;
  /** The call of the handler, once it was made. */
  call: CallHandle | undefined;
  ended = false;
  /** Resolves when the end is committed. */
  settled: Promise<void> | undefined;

  constructor(runner: LineRunner, lease: Lease, policy: LinePolicy) {
    this.runner = runner;
    this.lease = lease;
    this.policy = policy;
    this.timeoutMs = lease.job.extras?.timeoutMs ?? policy.timeoutMs;
  }
}

/** What runs on this engine, by receipt. */
export type Runs = Map<string, Run>;

export class LineRunner {
  readonly line: Line;
  readonly #host: WorkerHost;
  readonly #broker: Broker;
  readonly #runs: Runs;
  readonly #events: JobEvents;
  /** Undefined = nobody consumes this line: its jobs wait. */
  #policy: LinePolicy | undefined;
  #running = 0;
  #draining = false;
  #pumping = false;

  constructor(host: WorkerHost, broker: Broker, line: Line, runs: Runs, events: JobEvents) {
    this.#host = host;
    this.#broker = broker;
    this.line = line;
    this.#runs = runs;
    this.#events = events;
  }

  get policy(): LinePolicy | undefined {
    return this.#policy;
  }

  /** Applies from the next job on; what runs is untouched. */
  setPolicy(policy: LinePolicy | undefined): void {
    this.#policy = policy;
    this.#broker.consume(this.line, policy?.concurrency ?? 0);
    this.pump();
  }

  drain(): void {
    this.#draining = true;
  }

  get isIdle(): boolean {
    return this.#running === 0;
  }

  /** Starts what can start. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (!this.#draining && this.#policy !== undefined && this.#running < this.#policy.concurrency) {
        const lease = this.#broker.reserve(this.line);
        if (lease === undefined) break;
        this.#start(lease, this.#policy);
      }
    } finally {
      this.#pumping = false;
    }
  }

  /** The handler judges its own failure. Resolves after the commit. */
  async reject(
    run: Run,
    error: ErrorBody,
    verdict: { readonly deadLetter: true } | { readonly retryInMs: number },
  ): Promise<Decision> {
    const decision = rejected(run.lease.job, error, verdict, this.#host.clock.now());
    this.#end(run, decision, 'rejected');
    await run.settled;
    return decision;
  }

  #start(lease: Lease, policy: LinePolicy): void {
    const run = new Run(this, lease, policy);
    this.#running++;
    this.#runs.set(lease.job.receipt, run);
    if (policy.conditionFunctionId === undefined) this.#invoke(run);
    else void this.#ask(run, policy.conditionFunctionId);
  }

  #invoke(run: Run): void {
    const { job } = run.lease;
    run.call = new CallHandle();
    this.#host.invoke(
      {
        functionId: job.functionId,
        namespace: job.namespace,
        payload: Payload.fromJson(job.data),
        metadata: Payload.fromJson(handlerMetadata(job, run.policy)),
        traceparent: job.traceparent,
        baggage: job.baggage,
        timeoutMs: run.timeoutMs,
        consumers: run.policy.consumers,
        handle: run.call,
        late: (outcome) => void this.#late(run, outcome),
      },
      (outcome) => this.#answered(run, outcome),
    );
  }

  async #ask(run: Run, conditionFunctionId: string): Promise<void> {
    const { data, namespace, traceparent, baggage } = run.lease.job;
    const answer = await this.#host.condition(conditionFunctionId, {
      payload: Payload.fromJson(data),
      namespace,
      traceparent,
      baggage,
      timeoutMs: run.timeoutMs,
    });
    if (answer.verdict !== 'error') {
      if (answer.verdict === 'run') this.#invoke(run);
      else this.#answered(run, { ok: true, result: undefined });
      return;
    }
    const { error, cause, worker } = answer;
    // Only what the function itself said is told as its error; the rest did not reach it, or was lost.
    const told = cause === 'handler' || cause === 'timeout';
    this.#answered(run, {
      ok: false,
      error: told ? { code: error.code, message: `Condition function error: ${error.message}` } : error,
      cause,
      ...(worker === undefined ? {} : { worker }),
    });
  }

  #answered(run: Run, outcome: Outcome): void {
    if (run.ended) return;
    const rules = (this.#policy ?? run.policy).rules;
    this.#end(run, this.#decide(run.lease.job, outcome, rules), outcome.ok ? undefined : outcome.cause);
  }

  #end(run: Run, decision: Decision, why: JobEnd): void {
    const { lease } = run;
    run.ended = true;
    run.call = undefined;
    this.#running--;
    this.#runs.delete(lease.job.receipt);
    if (decision.kind === 'dead') this.#tellDead(lease.job, decision);
    run.settled = this.#broker.settle(lease, decision);
    this.pump();
    if (decision.kind !== 'release' && this.#events.wants(run.policy)) void this.#tell(run, decision, why);
    else run.settled.catch((error: unknown) => this.#unsettled(error));
  }

  /** Events go out after the commit. */
  async #tell(run: Run, decision: Decision, why: JobEnd): Promise<void> {
    try {
      await run.settled;
      this.#events.ended(run.lease, run.policy, decision, why);
    } catch (error) {
      this.#unsettled(error);
    }
  }

  #unsettled(error: unknown): void {
    this.#host.log.error('the end of a job could not be carried out', {
      queue: this.line.name,
      error: toErrorBody(error).message,
    });
  }

  async #late(run: Run, outcome: Outcome): Promise<void> {
    if (!outcome.ok || this.#broker.finishLate === undefined) return;
    try {
      await run.settled;
      if (!(await this.#broker.finishLate(run.lease))) return;
      this.#host.log.info('job done: its answer came after its timeout, before its next run', {
        function: run.lease.job.functionId,
        receipt: run.lease.job.receipt,
      });
      this.#events.ended(run.lease, run.policy, { kind: 'done' }, undefined);
    } catch (error) {
      this.#unsettled(error);
    }
  }

  #decide(job: Job, outcome: Outcome, rules: RetryRules): Decision {
    if (!outcome.ok) {
      // A worker that leaves while the engine shuts down says nothing about the job.
      if (this.#draining && outcome.cause === 'lost') return { kind: 'release', delayMs: 0 };
      // Nobody takes a call of a function that is there: not at once again.
      if (outcome.cause === 'not_found' && this.#host.registry.hasFunction(job.functionId, job.namespace)) {
        return { kind: 'release', delayMs: UNDELIVERED_DELAY_MS };
      }
    }
    const lostBy = outcome.ok ? undefined : outcome.worker;
    return decide(job, outcome, rules, this.#host.clock.now(), this.#host.random.float(), lostBy);
  }

  #tellDead(job: Job, { error, code, attempts }: Extract<Decision, { kind: 'dead' }>): void {
    const { name, kind } = this.line;
    this.#host.log.warn(
      `job dead-lettered: see it with engine::queue::dlq_messages, run it again with iii::queue::redrive`,
      {
        [kind === 'queue' ? 'queue' : 'topic']: name,
        function: job.functionId,
        receipt: job.receipt,
        attempts,
        code,
        error,
      },
    );
  }
}

/** Why a run ended, for events: the cause of a failure, or undefined where there was none. */
export type JobEnd = Extract<Outcome, { ok: false }>['cause'] | 'rejected' | undefined;

/** `{ ...user metadata, queue: { receipt, queue | topic, attempt, redelivered, enqueued_at_ms } }`: the handler's idempotency key. */
export function handlerMetadata(job: Job, policy: Pick<LinePolicy, 'place' | 'metadata'>): string {
  const { place } = policy;
  const [kind, name] = 'queue' in place ? ['queue', place.queue] : ['topic', place.topic];
  const replayed = job.extras?.replayed === true ? ',"replayed":true' : '';
  const own =
    `"queue":{"receipt":${JSON.stringify(job.receipt)},"${kind}":${JSON.stringify(name)},"attempt":${job.attempts + 1},` +
    `"redelivered":${String(job.redelivered)},"enqueued_at_ms":${job.createdAt}${replayed}}`;
  const user = (job.metadata ?? policy.metadata)?.trim();
  if (user === undefined || !user.startsWith('{')) return `{${own}}`;
  if (memberText(user, 'queue') !== undefined) {
    const rest = JSON.parse(user) as Record<string, unknown>;
    delete rest['queue'];
    return handlerMetadata({ ...job, metadata: JSON.stringify(rest) }, policy);
  }
  const inner = user.slice(1, -1).trim();
  return inner === '' ? `{${own}}` : `{${inner},${own}}`;
}
