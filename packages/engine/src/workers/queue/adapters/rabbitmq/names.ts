/**
 * What stands in RabbitMQ, all of it durable. `N` is a named queue; `T` a topic, `F@S` a subscriber (function
 * and namespace). The names of queues, dead letters and exchanges are those of the reference.
 *
 *   iii.__fn_queue::N             direct exchange; routing key N
 *     -> iii.__fn_queue::N.queue  the jobs: quorum; with single active consumer if fifo;
 *                                 classic with x-max-priority where the queue has priorities
 *   iii.__fn_queue::N::dlq        direct exchange; routing key N
 *     -> iii.__fn_queue::N::dlq.queue     dead letters: quorum
 *   iii.__fn_queue::N::delay::4s.queue    waits 4 s, then dead-letters to the jobs
 *   iii.__fn_queue::N::absent::4s.queue   the same for jobs whose function is on no engine that took them
 *
 *   iii.T.exchange                fanout exchange
 *     -> iii.T.F@S.queue          the jobs of one subscription; unbound when it has ended
 *   iii.T.F@S.dlq, iii.T.F@S.delay.4s, iii.T.F@S.absent.4s
 *
 *   iii.trine.lines               registry: one message per line (registry.ts)
 *
 * A level queue is quorum, has the fixed TTL of its level (a TTL per message waits behind the head), dead-letters
 * at least once through the default exchange straight to the jobs, and refuses what it cannot keep
 * (reject-publish), so that a publisher is told. A job hops: into the largest level that fits what is left, back
 * among the jobs, into the next one. Less than the smallest level is waited for in memory.
 *
 * Levels up to 4 s are made with the jobs' queue, longer ones when first needed. Not later than that, because 3.10.8
 * writes down every few seconds which quorum queues it has: one that was made just before the server was killed comes
 * back without its messages, confirmed or not.
 *
 * x-delivery-limit is a number that is never reached: 3.10 takes -1 for a limit that is passed at the first
 * return and drops the message; 4.x without the argument has a limit of 20.
 */
import { createHash } from 'node:crypto';
import type { LineSpec } from '../index.js';

/** Level k waits 2^k seconds. */
export const MAX_LEVEL = 22;
/** Jobs of absent functions wait 16 s at most: no more than 30 s after the function is there. */
export const MAX_ABSENT_LEVEL = 4;
/** So often at each level first: which engine gets a job next is chance, and it may be the wrong one several times. */
export const ABSENT_HOPS_PER_LEVEL = 4;
/** Levels that are made with their line, as bits: 1, 2 and 4 s; and 1 s for absent functions. */
export const FIRST_DELAYS = 0b111;
export const FIRST_ABSENTS = 0b1;
export const REGISTRY = 'iii.trine.lines';
export const NEVER_REACHED_LIMIT = 1_000_000_000;
/** AMQP's short strings end here, in bytes; longer names are cut and get a hash. */
const MAX_NAME_BYTES = 255;
const HASH_CHARS = 32;
/** Room for the longest ending of a name. */
const MAX_BASE_BYTES = MAX_NAME_BYTES - 40;

export interface LineNames {
  readonly exchange: string;
  readonly routingKey: string;
  readonly queue: string;
  readonly deadExchange: string | undefined;
  readonly dead: string;
  delay(level: number): string;
  absent(level: number): string;
}

export function namesOf(spec: LineSpec): LineNames {
  if (spec.kind === 'queue') {
    const base = fit(`iii.__fn_queue::${spec.name}`);
    return {
      exchange: base,
      routingKey: fit(spec.name),
      queue: `${base}.queue`,
      deadExchange: `${base}::dlq`,
      dead: `${base}::dlq.queue`,
      delay: (level) => `${base}::delay::${2 ** level}s.queue`,
      absent: (level) => `${base}::absent::${2 ** level}s.queue`,
    };
  }
  const base = fit(`iii.${spec.name}.${escape(spec.functionId)}@${escape(spec.namespace)}`);
  return {
    exchange: topicExchange(spec.name),
    routingKey: '',
    queue: `${base}.queue`,
    deadExchange: undefined,
    dead: `${base}.dlq`,
    delay: (level) => `${base}.delay.${2 ** level}s`,
    absent: (level) => `${base}.absent.${2 ** level}s`,
  };
}

export function topicExchange(topic: string): string {
  return `${fit(`iii.${topic}`)}.exchange`;
}

/** The largest level that fits, or undefined for less than the smallest. */
export function levelFor(ms: number): number | undefined {
  if (ms < 1_000) return undefined;
  return Math.min(MAX_LEVEL, Math.floor(Math.log2(ms / 1_000)));
}

/** Levels that are in a set kept as bits. */
export function levelsIn(bits: number): number[] {
  return Array.from({ length: MAX_LEVEL + 1 }, (_, level) => level).filter((level) => (bits & (1 << level)) !== 0);
}

export function quorum(more: Readonly<Record<string, unknown>> = {}): {
  readonly durable: true;
  readonly arguments: Readonly<Record<string, unknown>>;
} {
  return { durable: true, arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': NEVER_REACHED_LIMIT, ...more } };
}

export function levelQueue(level: number, target: string): ReturnType<typeof quorum> {
  return quorum({
    'x-message-ttl': 2 ** level * 1_000,
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': target,
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
  });
}

function escape(part: string): string {
  return part.replace(/[\\@]/g, '\\$&');
}

function fit(name: string): string {
  const bytes = Buffer.from(name);
  if (bytes.length <= MAX_BASE_BYTES) return name;
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, HASH_CHARS);
  const head = bytes.subarray(0, MAX_BASE_BYTES - HASH_CHARS - 1).toString('utf8');
  return `${head.replace(/\uFFFD+$/, '')}~${hash}`;
}
