/**
 * The calls that ended last, as the router saw them: one record a call, in a ring of fixed size.
 *
 * Hot path. Rules kept here: nothing is allocated for a call, no text of a frame is kept alive
 * (a trace context is copied as bytes, names are those of the registration), ids are made and trace
 * contexts are parsed when someone reads. Guarded by the routed-call rows of the benchmarks.
 */
import type { Clock } from './clock.js';
import type { CallRecorder, PendingCall } from './pending-call.js';
import type { Random } from './random.js';
import { clip } from './telemetry-values.js';
import type { Outcome } from './worker-host.js';

/** One call, as it is read back. */
export interface CallRecord {
  readonly traceId: string;
  readonly spanId: string;
  /** The span of the caller, where it told one. */
  readonly parentSpanId: string | undefined;
  readonly functionId: string;
  /** Name of the worker that called and of the one that served, or its id while it has no name. */
  readonly caller: string;
  readonly executor: string;
  /** A built-in of this engine served. */
  readonly builtIn: boolean;
  /** Wall clock, milliseconds with fractions. */
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly error: CallError | undefined;
}

interface CallError {
  readonly code: string;
  readonly message: string;
}

/** Calls whose records are kept: as many as a freshly made project keeps spans. */
export const DEFAULT_CALL_RECORDS = 10_000;
/** The most calls that can be kept: reading that many back takes a tenth of a second. */
export const MAX_CALL_RECORDS = 100_000;

/** Records that get their memory together, about 100 KiB: an idle engine has none. */
const CHUNK_SIZE = 1_024;
/** `00-<32 hex>-<16 hex>-<2 hex>`: what is kept of a trace context. */
const CONTEXT_BYTES = 55;
/** Longest message of a failed call that is kept, in characters. */
const MAX_ERROR_CHARS = 512;
/** How often the wall clock is compared with the steady one, in milliseconds. */
const ANCHOR_EVERY_MS = 1_000;
/** A wall clock that went back by more than this was set: spans follow it. In milliseconds. */
const CLOCK_STEP_MS = 10;
/** Sequence number inside an id, in hex digits. */
const SEQUENCE_DIGITS = 12;

/** Functions that read or write telemetry: who looks does not change what there is to see. */
const UNTRACED = /^engine::(?:traces|logs|log|metrics|baggage|sampling|health|alerts|rollups)::/;
const CONTEXT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/;

export class SpanRing implements CallRecorder {
  readonly #clock: Clock;
  /** 20 and 4 hex digits; a sequence number completes them. */
  readonly #tracePrefix: string;
  readonly #spanPrefix: string;
  #chunks: Chunk[] = [];
  #capacity = DEFAULT_CALL_RECORDS;
  /** Records written since the start; the newest `#kept` of them are in the ring. */
  #written = 0;
  #kept = 0;
  #ratio = 1;
  #share = 0;
  /** Wall clock minus steady clock, in milliseconds, and when that was last looked at. */
  #offsetMs: number;
  #anchoredMs: number;

  constructor(parts: { readonly clock: Clock; readonly random: Random }) {
    this.#clock = parts.clock;
    this.#tracePrefix = parts.random.hex(10);
    this.#spanPrefix = parts.random.hex(2);
    this.#anchoredMs = parts.clock.monotonic();
    this.#offsetMs = parts.clock.now() - this.#anchoredMs;
  }

  get size(): number {
    return this.#kept;
  }

  /** The share of calls that is recorded, 0 to 1: of a trace all or none. */
  set ratio(ratio: number) {
    this.#ratio = ratio;
  }

  /** How many calls are kept; the newest ones stay when it shrinks. */
  resize(capacity: number): void {
    if (capacity === this.#capacity) return;
    const old = { chunks: this.#chunks, capacity: this.#capacity };
    const kept = Math.min(this.#kept, capacity);
    this.#chunks = [];
    this.#capacity = capacity;
    for (let sequence = this.#written - kept; sequence < this.#written; sequence++) {
      const from = sequence % old.capacity;
      const to = sequence % capacity;
      copySlot(
        old.chunks[Math.trunc(from / CHUNK_SIZE)] as Chunk,
        from % CHUNK_SIZE,
        this.#chunkAt(to),
        to % CHUNK_SIZE,
      );
    }
    this.#kept = kept;
  }

  clear(): void {
    this.#chunks = [];
    this.#kept = 0;
  }

  ended(call: PendingCall, outcome: Outcome, nowMs: number): void {
    const { owner, traceparent } = call;
    const builtIn = owner.session.kind === 'engine';
    if (builtIn && UNTRACED.test(owner.id)) return;
    if (this.#ratio < 1 && !this.#isSampled(traceparent)) return;
    if (nowMs - this.#anchoredMs >= ANCHOR_EVERY_MS) this.#anchor(nowMs);
    const index = this.#written % this.#capacity;
    const chunk = this.#chunkAt(index);
    const slot = index % CHUNK_SIZE;
    chunk.started[slot] = call.startedMs + this.#offsetMs;
    chunk.ended[slot] = nowMs + this.#offsetMs;
    chunk.functions[slot] = owner.id;
    chunk.executors[slot] = owner.session.label;
    chunk.callers[slot] = call.caller.label;
    chunk.builtIn[slot] = builtIn ? 1 : 0;
    if (traceparent === undefined) chunk.contexts[slot * CONTEXT_BYTES] = 0;
    else writeContext(chunk.contexts, slot, traceparent);
    chunk.errors[slot] = outcome.ok
      ? undefined
      : { code: outcome.error.code, message: clip(outcome.error.message, MAX_ERROR_CHARS) };
    this.#written++;
    if (this.#kept < this.#capacity) this.#kept++;
  }

  /** The records that are kept, oldest first. */
  *records(): IterableIterator<CallRecord> {
    for (let sequence = this.#written - this.#kept; sequence < this.#written; sequence++) {
      const index = sequence % this.#capacity;
      yield this.#read(this.#chunkAt(index), index % CHUNK_SIZE, sequence);
    }
  }

  #read(chunk: Chunk, slot: number, sequence: number): CallRecord {
    const at = slot * CONTEXT_BYTES;
    const text = chunk.contexts[at] === 0 ? '' : chunk.contexts.toString('latin1', at, at + CONTEXT_BYTES);
    const [, traceId, parentSpanId] = CONTEXT.exec(text.toLowerCase()) ?? [];
    const known = traceId !== undefined && !/^0+$/.test(traceId) && !/^0+$/.test(parentSpanId ?? '0');
    const tail = sequence.toString(16).padStart(SEQUENCE_DIGITS, '0');
    return {
      traceId: known ? traceId : this.#tracePrefix + tail,
      spanId: this.#spanPrefix + tail,
      parentSpanId: known ? parentSpanId : undefined,
      functionId: chunk.functions[slot] as string,
      caller: chunk.callers[slot] as string,
      executor: chunk.executors[slot] as string,
      builtIn: chunk.builtIn[slot] === 1,
      startedAtMs: chunk.started[slot] as number,
      endedAtMs: chunk.ended[slot] as number,
      error: chunk.errors[slot],
    };
  }

  #chunkAt(index: number): Chunk {
    const at = Math.trunc(index / CHUNK_SIZE);
    return this.#chunks[at] ?? (this.#chunks[at] = new Chunk());
  }

  /** Decided by the trace id, where there is one: every engine decides alike. */
  #isSampled(traceparent: string | undefined): boolean {
    if (this.#ratio <= 0) return false;
    if (traceparent !== undefined) {
      // The upper half of the trace id's first eight bytes, read lowest byte first.
      const part = Number.parseInt(traceparent.slice(11, 19), 16);
      if (!Number.isNaN(part)) return share(part) < this.#ratio;
    }
    this.#share += this.#ratio;
    if (this.#share < 1) return false;
    this.#share -= 1;
    return true;
  }

  /** The wall clock counts whole milliseconds: the largest difference seen is the true one. */
  #anchor(nowMs: number): void {
    this.#anchoredMs = nowMs;
    const offsetMs = this.#clock.now() - nowMs;
    if (offsetMs > this.#offsetMs || offsetMs < this.#offsetMs - CLOCK_STEP_MS) this.#offsetMs = offsetMs;
  }
}

class Chunk {
  readonly started = new Float64Array(CHUNK_SIZE);
  readonly ended = new Float64Array(CHUNK_SIZE);
  readonly builtIn = new Uint8Array(CHUNK_SIZE);
  readonly contexts = Buffer.alloc(CHUNK_SIZE * CONTEXT_BYTES);
  readonly functions = new Array<string>(CHUNK_SIZE).fill('');
  readonly callers = new Array<string>(CHUNK_SIZE).fill('');
  readonly executors = new Array<string>(CHUNK_SIZE).fill('');
  readonly errors = new Array<CallError | undefined>(CHUNK_SIZE).fill(undefined);
}

function copySlot(from: Chunk, at: number, to: Chunk, slot: number): void {
  to.started[slot] = from.started[at] as number;
  to.ended[slot] = from.ended[at] as number;
  to.builtIn[slot] = from.builtIn[at] as number;
  to.functions[slot] = from.functions[at] as string;
  to.callers[slot] = from.callers[at] as string;
  to.executors[slot] = from.executors[at] as string;
  to.errors[slot] = from.errors[at];
  from.contexts.copy(to.contexts, slot * CONTEXT_BYTES, at * CONTEXT_BYTES, (at + 1) * CONTEXT_BYTES);
}

/** Longer contexts are of a later version, whose first fields are the same; shorter ones are none. */
function writeContext(contexts: Buffer, slot: number, traceparent: string): void {
  const at = slot * CONTEXT_BYTES;
  if (traceparent.length < CONTEXT_BYTES) contexts[at] = 0;
  else contexts.write(traceparent, at, CONTEXT_BYTES, 'latin1');
}

/** Four bytes, read lowest first, as a share of all their values. */
function share(bytes: number): number {
  const swapped =
    (bytes & 0xff) * 0x100_0000 + ((bytes >>> 8) & 0xff) * 0x1_0000 + ((bytes >>> 16) & 0xff) * 0x100 + (bytes >>> 24);
  return swapped / 0x1_0000_0000;
}
