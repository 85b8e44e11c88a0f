/**
 * Runs the jobs of one line: at most `concurrency` at once, started as soon as a slot is free.
 *
 * Hot path: one call and one decision per job, the payload stays text.
 */
import { memberText, Payload } from '@trine/protocol';
import type { Outcome, WorkerHost } from '../../core/worker-host.js';
import type { Broker, Lease, Line } from './adapters/index.js';
import { decide, UNDELIVERED_DELAY_MS, type Decision, type Job, type RetryRules } from './job.js';

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
}

export class LineRunner {
  readonly line: Line;
  readonly #host: WorkerHost;
  readonly #broker: Broker;
  /** Undefined = nobody consumes this line: its jobs wait. */
  #policy: LinePolicy | undefined;
  #running = 0;
  #draining = false;
  #pumping = false;

  constructor(host: WorkerHost, broker: Broker, line: Line) {
    this.#host = host;
    this.#broker = broker;
    this.line = line;
  }

  get policy(): LinePolicy | undefined {
    return this.#policy;
  }

  /** Applies from the next job on; what runs is untouched. */
  setPolicy(policy: LinePolicy | undefined): void {
    this.#policy = policy;
    if (policy === undefined) return;
    this.#broker.recheck(this.line);
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
        this.#running++;
        void this.#run(lease, this.#policy);
      }
    } finally {
      this.#pumping = false;
    }
  }

  async #run(lease: Lease, policy: LinePolicy): Promise<void> {
    const { job } = lease;
    const outcome = await this.#deliver(job, policy);
    this.#running--;
    const decision = this.#decide(job, outcome, (this.#policy ?? policy).rules);
    if (decision.kind === 'dead') this.#tellDead(job, decision);
    const settled = this.#broker.settle(lease, decision);
    this.pump();
    await settled;
  }

  async #deliver(job: Job, policy: LinePolicy): Promise<Outcome> {
    const { functionId, namespace, traceparent, baggage } = job;
    const { timeoutMs, conditionFunctionId } = policy;
    if (conditionFunctionId !== undefined) {
      const request = { payload: Payload.fromJson(job.data), namespace, traceparent, baggage, timeoutMs };
      const answer = await this.#host.condition(conditionFunctionId, request);
      if (answer.verdict === 'skip') return { ok: true, result: undefined };
      if (answer.verdict === 'error') {
        const { error, cause, worker } = answer;
        // Only what the function itself said is told as its error; the rest did not reach it, or was lost.
        const told = cause === 'handler' || cause === 'timeout';
        return {
          ok: false,
          error: told ? { code: error.code, message: `Condition function error: ${error.message}` } : error,
          cause,
          ...(worker === undefined ? {} : { worker }),
        };
      }
    }
    return this.#host.invoke({
      functionId,
      namespace,
      payload: Payload.fromJson(job.data),
      metadata: Payload.fromJson(handlerMetadata(job, policy)),
      traceparent,
      baggage,
      timeoutMs,
      consumers: 'replicas',
    });
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

/** `{ ...user metadata, queue: { receipt, queue | topic, attempt, redelivered, enqueued_at_ms } }`: the handler's idempotency key. */
export function handlerMetadata(job: Job, policy: LinePolicy): string {
  const { place } = policy;
  const [kind, name] = 'queue' in place ? ['queue', place.queue] : ['topic', place.topic];
  const own =
    `"queue":{"receipt":${JSON.stringify(job.receipt)},"${kind}":${JSON.stringify(name)},"attempt":${job.attempts + 1},` +
    `"redelivered":${String(job.redelivered)},"enqueued_at_ms":${job.createdAt}}`;
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
