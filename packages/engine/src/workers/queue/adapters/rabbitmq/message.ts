/**
 * A job as an AMQP message: the payload is the body, the names of the reference are headers (`function_id`,
 * `namespace`, `traceparent`, `baggage`, `x-attempt`, the receipt as message id), everything else is JSON in the
 * header `x-trine`. Headers of one message have 64 KiB: what is longer follows the payload in the body, and
 * `x-trine-at` tells where it begins.
 */
import { createHash } from 'node:crypto';
import type { Message, Options } from 'amqplib';
import type { Failure, Job, JobExtras } from '../../job.js';
import type { LineSpec, SubscriptionSettings } from '../index.js';

/** More of our own goes behind the body, in bytes. */
const MAX_HEADER_BYTES = 16 * 1024;
/** One header of the reference's, in UTF-16 units. */
const MAX_TEXT_LENGTH = 4_096;
/** A message id is a short string, in bytes. */
const MAX_ID_BYTES = 255;
export const UNREADABLE = 'unreadable_message';

/** What a message says beside the job. */
export interface Carried {
  /** Wall clock, milliseconds: not before; and how long it was to wait when that was written. */
  readonly dueAt?: number | undefined;
  readonly delayMs?: number | undefined;
  /** How often in a row its function was not there. */
  readonly absent?: number | undefined;
  readonly dead?: DeadMark | undefined;
}

export interface DeadMark {
  readonly error: string;
  readonly code: string;
  readonly at: number;
}

interface More extends Carried {
  readonly receipt?: string | undefined;
  readonly functionId?: string | undefined;
  readonly traceparent?: string | undefined;
  readonly baggage?: string | undefined;
  readonly group?: string | undefined;
  readonly metadata?: string | undefined;
  readonly createdAt?: number | undefined;
  readonly maxAttempts?: number | undefined;
  readonly backoffMs?: number | undefined;
  readonly extras?: JobExtras | undefined;
  readonly lost?: number | undefined;
  readonly failures?: readonly Failure[] | undefined;
}

export type Encoded = { readonly content: Buffer; readonly options: Options.Publish };
export type Outgoing = Omit<Job, 'seq' | 'jobId' | 'redelivered'>;

export function encode(job: Outgoing, carried: Carried = {}): Encoded {
  const long = (text: string | undefined): boolean => (text?.length ?? 0) > MAX_TEXT_LENGTH;
  const longReceipt = Buffer.byteLength(job.receipt) > MAX_ID_BYTES;
  const { functionId, traceparent, baggage, group, metadata, createdAt, maxAttempts, backoffMs, extras } = job;
  const more: More = {
    receipt: job.receipt,
    functionId: long(functionId) ? functionId : undefined,
    traceparent: long(traceparent) ? traceparent : undefined,
    baggage: long(baggage) ? baggage : undefined,
    group,
    metadata,
    createdAt,
    maxAttempts,
    backoffMs,
    extras,
    lost: job.lost === 0 ? undefined : job.lost,
    failures: job.failures.length === 0 ? undefined : job.failures,
    ...carried,
  };
  const headers: Record<string, string | number> = { namespace: job.namespace, 'x-attempt': job.attempts };
  if (!long(functionId)) headers['function_id'] = functionId;
  if (traceparent !== undefined && !long(traceparent)) headers['traceparent'] = traceparent;
  if (baggage !== undefined && !long(baggage)) headers['baggage'] = baggage;
  return pack(job.data, more, headers, longReceipt ? undefined : job.receipt, extras?.priority);
}

/** A message of a topic: one for all subscriptions, each makes its job of it. */
export function encodeTopic(
  id: string,
  message: { readonly data: string; readonly traceparent: string | undefined; readonly baggage: string | undefined },
  createdAt: number,
  priority: number | undefined,
): Encoded {
  const { traceparent, baggage } = message;
  return pack(message.data, { traceparent, baggage, createdAt }, {}, id, priority);
}

function pack(
  data: string,
  more: More,
  headers: Record<string, string | number>,
  messageId: string | undefined,
  priority: number | undefined,
): Encoded {
  const text = JSON.stringify(more);
  let content = Buffer.from(data);
  if (Buffer.byteLength(text) <= MAX_HEADER_BYTES) headers['x-trine'] = text;
  else {
    headers['x-trine-at'] = content.length;
    content = Buffer.concat([content, Buffer.from(text)]);
  }
  return {
    content,
    options: {
      headers,
      contentType: 'application/json',
      persistent: true,
      mandatory: true,
      ...(messageId === undefined ? {} : { messageId }),
      ...(priority === undefined ? {} : { priority }),
    },
  };
}

/**
 * The number of a publish of ours, which no other has; '' for a message of another program, whose correlation id may be
 * that of many.
 */
export function publishNumber({ properties }: Message): string {
  const headers = (properties.headers ?? {}) as Readonly<Record<string, unknown>>;
  const isOurs = 'x-trine' in headers || 'x-trine-at' in headers;
  return isOurs ? (textOf(properties.correlationId) ?? '') : '';
}

export interface Decoded extends Carried {
  readonly job: Job;
  /** Why it cannot be run: another program put it there. */
  readonly unreadable?: string | undefined;
}

export function decode(
  { content, fields, properties }: Message,
  line: LineSpec & { readonly settings: SubscriptionSettings | undefined },
  seq: number,
  maxAttempts: number,
  now: number,
): Decoded {
  const headers = (properties.headers ?? {}) as Readonly<Record<string, unknown>>;
  const at = headers['x-trine-at'];
  const own = headers['x-trine'];
  const more = moreOf(typeof at === 'number' ? content.toString('utf8', at) : own);
  const text = content.toString('utf8', 0, typeof at === 'number' && more !== undefined ? at : content.length);
  const { data, unreadable } =
    more === undefined ? foreign(text, headers, line) : { data: text, unreadable: undefined };
  const { settings } = line;
  const id = textOf(properties.messageId) ?? createHash('sha256').update(content).digest('hex').slice(0, 32);
  const attempts = typeof headers['x-attempt'] === 'number' ? headers['x-attempt'] : 0;
  const lost = more?.lost ?? 0;
  const receipt = more?.receipt ?? (line.kind === 'queue' ? id : receiptOf(id, line));
  return {
    dueAt: more?.dueAt,
    delayMs: more?.delayMs,
    absent: more?.absent,
    dead: more?.dead,
    unreadable,
    job: {
      seq,
      receipt,
      jobId: more?.dead === undefined ? undefined : receipt,
      functionId: more?.functionId ?? textOf(headers['function_id']) ?? line.functionId,
      namespace: textOf(headers['namespace']) ?? (line.kind === 'queue' ? 'default' : line.namespace),
      group: more?.group,
      data,
      metadata: more?.metadata,
      traceparent: more?.traceparent ?? textOf(headers['traceparent']),
      baggage: more?.baggage ?? textOf(headers['baggage']),
      createdAt: more?.createdAt ?? now,
      maxAttempts: more?.maxAttempts ?? settings?.maxAttempts ?? maxAttempts,
      backoffMs: more?.backoffMs ?? settings?.backoffMs ?? 1_000,
      extras: more?.extras ?? listOf(settings),
      attempts,
      lost,
      redelivered: fields.redelivered || attempts > 0 || lost > 0,
      failures: more?.failures ?? [],
    },
  };
}

/** What is not ours, though it says so, is a message of another program: an error here would end the connection, again at each delivery. */
function moreOf(text: unknown): More | undefined {
  if (typeof text !== 'string') return undefined;
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A message of the reference or of another program: its text must be JSON, and it must say whom it is for. */
function foreign(
  text: string,
  headers: Readonly<Record<string, unknown>>,
  line: LineSpec,
): { readonly data: string; readonly unreadable: string | undefined } {
  try {
    const value = JSON.parse(text) as unknown;
    const isEnvelope = line.kind === 'subscription' && headers['x-iii-job-id'] !== undefined;
    const data = isEnvelope ? JSON.stringify((value as { readonly data?: unknown }).data ?? null) : text;
    const hasTarget = line.kind === 'subscription' || textOf(headers['function_id']) !== undefined;
    return { data, unreadable: hasTarget ? undefined : 'it has no header function_id' };
  } catch {
    return { data: JSON.stringify(text), unreadable: 'its body is not JSON' };
  }
}

/** One message of a topic has one receipt per subscription, the same each time it is delivered. */
function receiptOf(id: string, { name, namespace, functionId }: LineSpec): string {
  const hash = createHash('sha256').update(`${id}\u0000${name}\u0000${namespace}\u0000${functionId}`).digest('hex');
  return [
    hash.slice(0, 8),
    hash.slice(8, 12),
    `8${hash.slice(13, 16)}`,
    `8${hash.slice(17, 20)}`,
    hash.slice(20, 32),
  ].join('-');
}

function listOf(settings: SubscriptionSettings | undefined): JobExtras | undefined {
  return settings?.backoffListMs === undefined ? undefined : { backoffListMs: settings.backoffListMs };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
