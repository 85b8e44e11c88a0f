/**
 * The spans that can be asked for: those that workers sent, and the calls that the router saw. Two
 * rings, so that thousands of calls a second do not push out what the workers told.
 */
import type { SpanRing } from '../../core/span-ring.js';
import { DEFAULT_CALL_RECORDS, MAX_CALL_RECORDS } from '../../core/span-ring.js';
import type { SpanRecord } from '../../core/telemetry.js';
import { BoundedRing } from './bounded-ring.js';
import { callSpan } from './call-span.js';

/** Memory for spans of workers, in bytes, as estimated from their texts. */
const MAX_SPAN_BYTES = 64 * 1024 * 1024;
/** What a span takes beside its texts, in bytes. */
const SPAN_OVERHEAD_BYTES = 400;
/** What an event, a link or an attribute takes beside its texts, in bytes. */
const PART_OVERHEAD_BYTES = 64;
/** A span that still runs after this long has lost its worker, in nanoseconds: an hour. */
const MAX_PENDING_NANOS = 3_600_000_000_000n;

export class SpanStore {
  readonly calls: SpanRing;
  readonly #spans = new BoundedRing<SpanRecord>({ maxCount: DEFAULT_CALL_RECORDS, maxBytes: MAX_SPAN_BYTES });
  /** Snapshots of spans that still run, by trace and span: the final one takes their place. */
  readonly #pending = new Map<string, SpanRecord>();
  /** The engine's name on its own spans. */
  serviceName = 'iii';

  constructor(calls: SpanRing) {
    this.calls = calls;
  }

  get size(): number {
    return this.#spans.size + this.calls.size;
  }

  get bytes(): number {
    return this.#spans.bytes;
  }

  /** Spans of workers that had to go for newer ones. */
  get dropped(): number {
    return this.#spans.dropped;
  }

  add(span: SpanRecord): void {
    const key = keyOf(span.traceId, span.spanId);
    const before = this.#pending.get(key);
    const bytes = bytesOf(span);
    if (before !== undefined) this.#pending.delete(key);
    if (before === undefined || !this.#spans.replace(before, span, bytes)) this.#spans.push(span, bytes);
    if (span.endUnixNano === 0n) this.#file(key, span);
  }

  /** At most `maxSpans` of the workers', and as many calls as far as the engine keeps that many. */
  resize(maxSpans: number): void {
    this.#spans.resize(maxSpans);
    this.calls.resize(Math.min(maxSpans, MAX_CALL_RECORDS));
  }

  clear(): void {
    this.#spans.clear();
    this.#pending.clear();
    this.calls.clear();
  }

  /**
   * Every span, those of a kind in the order in which they came.
   *
   * @param nowUnixNano - for those that still run
   */
  *all(nowUnixNano: bigint): IterableIterator<SpanRecord> {
    for (const span of this.#spans.items()) {
      if (span.endUnixNano !== 0n || nowUnixNano - span.startUnixNano < MAX_PENDING_NANOS) yield span;
    }
    for (const call of this.calls.records()) yield callSpan(call, this.serviceName);
  }

  #file(key: string, span: SpanRecord): void {
    this.#pending.set(key, span);
    if (this.#pending.size <= this.#spans.size) return;
    // More snapshots than spans: the ring let go of some of them.
    const kept = new Set(this.#spans.items());
    for (const [each, pending] of this.#pending) if (!kept.has(pending)) this.#pending.delete(each);
  }
}

export function keyOf(traceId: string, spanId: string): string {
  return `${traceId}${spanId}`;
}

function bytesOf(span: SpanRecord): number {
  let bytes = SPAN_OVERHEAD_BYTES + span.name.length + span.statusDescription.length + attributeBytes(span.attributes);
  for (const event of span.events) bytes += PART_OVERHEAD_BYTES + event.name.length + attributeBytes(event.attributes);
  for (const link of span.links) bytes += PART_OVERHEAD_BYTES + attributeBytes(link.attributes);
  return bytes;
}

function attributeBytes(attributes: SpanRecord['attributes']): number {
  let bytes = 0;
  for (const [name, value] of attributes) bytes += PART_OVERHEAD_BYTES + name.length + value.length;
  return bytes;
}
