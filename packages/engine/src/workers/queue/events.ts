/**
 * What happens to jobs and backlogs, told to functions: the trigger type `queue` and the dead-letter function of a
 * queue. At most once, after the commit, and never for jobs of the function that would be told.
 */
import { DEFAULT_NAMESPACE, Payload } from '@trine/protocol';
import { z } from 'zod';
import type { TriggerBinding, TriggerTypeDefinition, WorkerHost } from '../../core/worker-host.js';
import { unknownField } from '../../core/raw-input.js';
import type { Lease, Line } from './adapters/index.js';
import type { Decision } from './job.js';
import type { JobEnd, LinePolicy } from './line-runner.js';

/** Events on their way to functions; above it they are dropped, which the log tells. */
export const MAX_EVENTS_IN_FLIGHT = 10_000;
/** How often the log tells of dropped events, in milliseconds. */
const TELL_DROPPED_EVERY_MS = 60_000;

export const EVENTS = ['completed', 'failed', 'dead_lettered', 'stalled', 'backlog_expired'] as const;
export type JobEvent = (typeof EVENTS)[number];

const triggerConfig = z.object({
  queue: z.string().optional().describe('Only jobs of this queue; `topic` is the same for topics. Default: all.'),
  topic: z.string().optional(),
  function_id: z.string().optional().describe('Only jobs of this function.'),
  events: z
    .array(z.enum(EVENTS))
    .optional()
    .describe(
      'Default: all. `stalled`: a delivery ended without an answer (worker lost, timeout). `backlog_expired`: the oldest ' +
        'messages of a subscription were dropped, as its backlog was full.',
    ),
});

interface Listener {
  readonly functionId: string;
  readonly namespace: string;
  readonly queue: string | undefined;
  readonly topic: string | undefined;
  readonly jobFunction: string | undefined;
  readonly events: ReadonlySet<JobEvent>;
}

export class JobEvents {
  readonly #host: WorkerHost;
  readonly #listeners = new Map<string, Listener>();
  #inFlight = 0;
  #dropped = 0;
  #toldAt = -Infinity;

  constructor(host: WorkerHost) {
    this.#host = host;
  }

  /** Is there anybody to tell? */
  wants(policy: LinePolicy): boolean {
    return this.#listeners.size > 0 || policy.deadLetterFunction !== undefined;
  }

  /** A delivery has ended and its end is committed. */
  ended(lease: Lease, policy: LinePolicy, decision: Decision, why: JobEnd): void {
    if (why === 'lost' || why === 'timeout') this.#tell('stalled', lease, decision);
    if (decision.kind === 'done') this.#tell('completed', lease, decision);
    else if (why !== 'lost') this.#tell('failed', lease, decision);
    if (decision.kind !== 'dead') return;
    this.#tell('dead_lettered', lease, decision);
    if (policy.deadLetterFunction === undefined || policy.deadLetterFunction === lease.job.functionId) return;
    const head = JSON.stringify(this.#head('dead_lettered', lease, decision)).slice(0, -1);
    const payload = Payload.fromJson(`${head},"payload":${lease.job.data}}`);
    this.#invoke(policy.deadLetterFunction, DEFAULT_NAMESPACE, payload);
  }

  /** The oldest messages of a subscription were dropped, and that is stored. */
  backlogExpired(line: Line, count: number): void {
    const { name: topic, functionId, namespace } = line;
    const at = this.#host.clock.now();
    this.#tellAll('backlog_expired', line, { functionId, namespace }, () => ({
      event: 'backlog_expired',
      topic,
      function_id: functionId,
      namespace,
      expired: count,
      at_ms: at,
    }));
  }

  bind(trigger: TriggerBinding): void {
    const value = trigger.config ?? {};
    const parsed = triggerConfig.safeParse(value);
    if (!parsed.success) throw new Error(z.prettifyError(parsed.error));
    for (const key of Object.keys(value)) {
      if (!(key in triggerConfig.shape)) throw new Error(unknownField(key, Object.keys(triggerConfig.shape)));
    }
    const { queue, topic, function_id, events } = parsed.data;
    this.#listeners.set(trigger.id, {
      functionId: trigger.functionId,
      namespace: trigger.namespace,
      queue,
      topic,
      jobFunction: function_id,
      events: new Set(events ?? EVENTS),
    });
  }

  unbind(trigger: TriggerBinding): void {
    this.#listeners.delete(trigger.id);
  }

  #tell(event: JobEvent, lease: Lease, decision: Decision): void {
    this.#tellAll(event, lease.line, lease.job, () => this.#head(event, lease, decision));
  }

  /** @param whose - the function whose job it is about: it is never told */
  #tellAll(
    event: JobEvent,
    line: Line,
    whose: { readonly functionId: string; readonly namespace: string },
    describe: () => object,
  ): void {
    let payload: Payload | undefined;
    for (const { functionId, namespace, queue, topic, jobFunction, events } of this.#listeners.values()) {
      if (!events.has(event)) continue;
      // A queue and a topic may have the same name.
      const isNamed = queue !== undefined || topic !== undefined;
      if (isNamed && (line.kind === 'queue' ? queue : topic) !== line.name) continue;
      if (jobFunction !== undefined && jobFunction !== whose.functionId) continue;
      if (functionId === whose.functionId && namespace === whose.namespace) continue;
      payload ??= Payload.fromJson(JSON.stringify(describe()));
      this.#invoke(functionId, namespace, payload.fork());
    }
  }

  #head(event: JobEvent, { job, line }: Lease, decision: Decision): object {
    const failed = decision.kind === 'dead' ? decision : undefined;
    const last = decision.kind === 'postpone' ? decision.failures.at(-1)?.error : undefined;
    const attempts = decision.kind === 'postpone' || decision.kind === 'dead' ? decision.attempts : job.attempts;
    return {
      event,
      [line.kind === 'queue' ? 'queue' : 'topic']: line.name,
      function_id: job.functionId,
      namespace: job.namespace,
      receipt: job.receipt,
      failed_attempts: attempts,
      enqueued_at_ms: job.createdAt,
      at_ms: this.#host.clock.now(),
      error: failed?.error ?? last,
      error_code: failed?.code,
      retry_in_ms: decision.kind === 'postpone' ? decision.delayMs : undefined,
    };
  }

  #invoke(functionId: string, namespace: string, payload: Payload): void {
    if (this.#inFlight >= MAX_EVENTS_IN_FLIGHT) {
      this.#drop();
      return;
    }
    this.#inFlight++;
    this.#host.invoke({ functionId, namespace, payload }, (outcome) => {
      this.#inFlight--;
      if (outcome.ok) return;
      this.#host.log.warn('an event of a job was not taken: events are delivered at most once', {
        function: functionId,
        code: outcome.error.code,
        error: outcome.error.message,
      });
    });
  }

  #drop(): void {
    this.#dropped++;
    const now = this.#host.clock.monotonic();
    if (now - this.#toldAt < TELL_DROPPED_EVERY_MS) return;
    this.#toldAt = now;
    this.#host.log.warn('events of jobs were dropped: their functions are too slow', { dropped: this.#dropped });
    this.#dropped = 0;
  }
}

/** The trigger type of events of jobs. */
export function queueEvents(events: JobEvents): TriggerTypeDefinition {
  return {
    id: 'queue',
    description:
      'Runs a function when a job completed, failed, was dead-lettered or stalled, or a backlog lost its oldest messages; at most once',
    configSchema: triggerConfig,
    bind: (trigger) => events.bind(trigger),
    unbind: (trigger) => events.unbind(trigger),
  };
}
