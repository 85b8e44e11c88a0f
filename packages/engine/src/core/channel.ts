/**
 * A channel: a byte-bounded pipe with two ends, each of which can be taken once. Messages are text or
 * binary and keep their order and boundaries.
 *
 *   writer:  free -> taken -> ended            ended = it said that everything is written
 *   reader:  free -> taken
 *   channel: open -> finished                  the writer ended and the reader has taken everything
 *            open -> aborted (reason)          an end was lost, the owner left, nobody came, a bound was met
 *
 * The transitions are `takeWriter`, `takeReader`, `end`, `abort` and, for `finished`, `#drain`. A channel that
 * is finished or aborted holds nothing and is out of the table; further writes are dropped.
 *
 * Backpressure: the reader's side says with the result of `deliver` whether it takes more, and calls `pull`
 * when it does again; the writer's side is told `pause` when the buffer is full and `resume` when half of it
 * is free. A writer that cannot stand still (see `Spill`) calls `writeAside`, which puts what does not fit
 * into a temporary file.
 *
 * Costs next to nothing until an end is taken: most requests carry two of them and use neither.
 */
import type { AccessRules } from './access-rules.js';
import type { ChannelPool } from './channels.js';
import { Spill } from './spill.js';

/** What a buffer is counted in, in bytes: the largest frame that SDKs write. */
export const CHANNEL_UNIT_BYTES = 64 * 1024;
/** What a message costs beside its bytes, in bytes: without it, empty messages would be free. */
const MESSAGE_OVERHEAD_BYTES = 64;
/** Read back from a spill at a time, in bytes. */
const REFILL_BYTES = 1024 * 1024;
/** A queue drops its consumed front after this many messages. */
const COMPACT_AFTER = 1_024;

/** Why a channel was aborted: the reason in the Close frame (1011) of the end that is told. */
export type AbortReason =
  | 'writer_lost'
  | 'reader_gone'
  | 'reader_stalled'
  | 'owner_gone'
  | 'never_opened'
  | 'message_too_large'
  | 'spill_failed'
  | 'engine_stopping'
  | 'request_ended'
  | 'client_gone'
  | 'body_too_large';

export interface ChannelMessage {
  readonly data: Buffer;
  readonly isText: boolean;
}

export type ChannelDirection = 'read' | 'write';

/** How an end travels in payloads; SDKs turn it into a reader or writer. */
export interface ChannelRef {
  readonly channel_id: string;
  readonly access_key: string;
  readonly direction: ChannelDirection;
}

/** Who reads. None of these may throw. */
export interface ChannelSink {
  /** Takes one message. False = no more until it has called `Channel.pull()`. */
  deliver(data: Buffer, isText: boolean): boolean;
  /** Everything was delivered. */
  end(): void;
  /** There will be no more, and something is missing. */
  abort(reason: AbortReason): void;
}

/** Who writes. None of these may throw. */
export interface ChannelSource {
  pause(): void;
  resume(): void;
  /** Somebody reads now: a source that produces only for readers begins here. */
  readerTaken?(): void;
  /** The channel was aborted: what is written from here on is dropped. */
  abort(reason: AbortReason): void;
}

export class Channel {
  readonly id: string;
  readonly key: string;
  readonly capacityBytes: number;
  /** Steady clock, milliseconds. */
  readonly createdAt: number;
  /** Its maker ends it by itself: it neither ends with its owner nor is swept for an end that nobody took. */
  readonly isManaged: boolean;
  /** Who made it: a worker behind access rules, one behind none, or the engine itself. */
  readonly #madeBehind: AccessRules | 'no rules' | 'engine';
  readonly #pool: ChannelPool;
  #writer: 'free' | 'taken' | 'ended' = 'free';
  #source: ChannelSource | undefined;
  #sink: ChannelSink | undefined;
  #isOver = false;
  #isReady = false;
  #isPaused = false;
  #isDraining = false;
  #queue: ChannelMessage[] | undefined;
  #head = 0;
  #bufferedBytes = 0;
  #spill: Spill | undefined;
  /** What the pool was told of. */
  #spilledBytes = 0;
  #isRefilling = false;

  /** Use `Channels.create`. */
  constructor(
    id: string,
    key: string,
    capacityBytes: number,
    createdAt: number,
    isManaged: boolean,
    madeBehind: AccessRules | 'no rules' | 'engine',
    pool: ChannelPool,
  ) {
    this.id = id;
    this.key = key;
    this.capacityBytes = capacityBytes;
    this.createdAt = createdAt;
    this.isManaged = isManaged;
    this.#madeBehind = madeBehind;
    this.#pool = pool;
  }

  /**
   * Does its key count at a listener with these rules? It is bound to the listener that made the channel: what leaks
   * from inside opens nothing outside. A listener without rules takes all keys, since whoever is there may call
   * everything as it is, and every listener takes those of the engine's own channels (bodies of requests).
   */
  opensAt(rules: AccessRules | undefined): boolean {
    return rules?.restricted !== true || this.#madeBehind === 'engine' || this.#madeBehind === rules;
  }

  ref(direction: ChannelDirection): ChannelRef {
    return { channel_id: this.id, access_key: this.key, direction };
  }

  /** Finished or aborted. */
  get isOver(): boolean {
    return this.#isOver;
  }

  get hasWriter(): boolean {
    return this.#writer !== 'free';
  }

  get hasReader(): boolean {
    return this.#sink !== undefined;
  }

  /** The writer said that everything is written. */
  get hasEnded(): boolean {
    return this.#writer === 'ended';
  }

  /** Bytes that wait in memory, with what each message costs. */
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** Bytes that wait in the temporary file. */
  get spilledBytes(): number {
    return this.#spilledBytes;
  }

  /** False when somebody has the end already, or the channel is over. */
  takeWriter(source: ChannelSource): boolean {
    if (this.#writer !== 'free' || this.#isOver) return false;
    this.#writer = 'taken';
    this.#source = source;
    return true;
  }

  /** False when somebody has the end already, or the channel is over. Nothing is delivered before the first `pull()`. */
  takeReader(sink: ChannelSink): boolean {
    if (this.#sink !== undefined || this.#isOver) return false;
    this.#sink = sink;
    if (this.#writer === 'taken') this.#source?.readerTaken?.();
    return true;
  }

  /** One message of the writer. False = the source is paused; the message is kept all the same. */
  write(data: Buffer, isText: boolean): boolean {
    if (this.#isOver || this.#writer !== 'taken') return false;
    if (this.#spilledBytes > 0) {
      // What came before is in the file: this has to line up behind it.
      this.#spillOut(data, isText);
      return false;
    }
    if (this.#isReady && this.#length === 0 && !this.#isDraining) {
      this.#isReady = false;
      if ((this.#sink as ChannelSink).deliver(data, isText)) this.#isReady = true;
      return !this.#isPaused;
    }
    this.#push({ data, isText });
    if (!this.#isPaused && this.#bufferedBytes >= this.#limitBytes) {
      this.#isPaused = true;
      this.#source?.pause();
    }
    return !this.#isPaused;
  }

  /**
   * The same for a writer that was told to pause and cannot: into the file.
   *
   * @returns a promise to wait for before more is written, where the disk is behind
   */
  writeAside(data: Buffer, isText: boolean): Promise<void> | undefined {
    if (this.#isOver || this.#writer !== 'taken') return undefined;
    if (!this.#isPaused) this.write(data, isText);
    else this.#spillOut(data, isText);
    return this.#spill?.isBehind === true ? this.#spill.settled() : undefined;
  }

  /** The writer has written everything. */
  end(): void {
    if (this.#isOver || this.#writer !== 'taken') return;
    this.#writer = 'ended';
    this.#drain();
  }

  /** The reader takes more. */
  pull(): void {
    this.#isReady = true;
    this.#drain();
  }

  /** Ends the channel where it is; both ends that are taken are told. Idempotent. */
  abort(reason: AbortReason): void {
    if (this.#isOver) return;
    this.#over();
    this.#sink?.abort(reason);
    this.#source?.abort(reason);
  }

  get #length(): number {
    return this.#queue === undefined ? 0 : this.#queue.length - this.#head;
  }

  /** All channels together hold too much: each may hold little. */
  get isCramped(): boolean {
    return this.#pool.bufferedBytes > this.#pool.bounds.pooledBytes;
  }

  get #limitBytes(): number {
    return this.isCramped ? CHANNEL_UNIT_BYTES : this.capacityBytes;
  }

  #push(message: ChannelMessage): void {
    (this.#queue ??= []).push(message);
    this.#count(message.data.length + MESSAGE_OVERHEAD_BYTES);
  }

  #shift(): ChannelMessage | undefined {
    const queue = this.#queue;
    if (queue === undefined || this.#head === queue.length) return undefined;
    const message = queue[this.#head] as ChannelMessage;
    queue[this.#head++] = TAKEN;
    if (this.#head === queue.length) {
      this.#queue = undefined;
      this.#head = 0;
    } else if (this.#head === COMPACT_AFTER) {
      queue.splice(0, COMPACT_AFTER);
      this.#head = 0;
    }
    this.#count(-message.data.length - MESSAGE_OVERHEAD_BYTES);
    return message;
  }

  #count(bytes: number): void {
    this.#bufferedBytes += bytes;
    this.#pool.bufferedBytes += bytes;
  }

  #drain(): void {
    if (this.#isOver || this.#isDraining) return;
    const sink = this.#sink;
    if (sink !== undefined) {
      this.#isDraining = true;
      while (this.#isReady && !this.#isOver) {
        const message = this.#shift();
        if (message === undefined) break;
        this.#isReady = false;
        if (sink.deliver(message.data, message.isText)) this.#isReady = true;
      }
      this.#isDraining = false;
      if (this.#isOver) return;
    }
    if (this.#spill !== undefined && this.#spilledBytes > 0) {
      if (this.#bufferedBytes <= this.#limitBytes / 2) this.#refill(this.#spill);
      return;
    }
    if (this.#isPaused && this.#bufferedBytes <= this.#limitBytes / 2) {
      this.#isPaused = false;
      if (this.#writer === 'taken') this.#source?.resume();
    }
    if (sink !== undefined && this.#writer === 'ended' && this.#length === 0) {
      this.#over();
      sink.end();
    }
  }

  #spillOut(data: Buffer, isText: boolean): void {
    const spill = (this.#spill ??= new Spill(this.#pool.bounds.spillBytes, () => this.abort('spill_failed')));
    const size = spill.sizeOf(data);
    const { spillBytes, pooledSpillBytes } = this.#pool.bounds;
    if (this.#spilledBytes + size > spillBytes || this.#pool.spilledBytes + size > pooledSpillBytes) {
      this.abort('reader_stalled');
      return;
    }
    this.#countSpilled(size);
    spill.append({ data, isText });
    this.#drain();
  }

  #refill(spill: Spill): void {
    if (this.#isRefilling) return;
    this.#isRefilling = true;
    void spill.take(REFILL_BYTES).then((messages) => {
      this.#isRefilling = false;
      if (this.#isOver || messages === undefined) return;
      for (const message of messages) {
        this.#countSpilled(-spill.sizeOf(message.data));
        this.#push(message);
      }
      this.#drain();
    });
  }

  #countSpilled(bytes: number): void {
    this.#spilledBytes += bytes;
    this.#pool.spilledBytes += bytes;
  }

  #over(): void {
    this.#isOver = true;
    this.#count(-this.#bufferedBytes);
    this.#queue = undefined;
    this.#head = 0;
    this.#countSpilled(-this.#spilledBytes);
    this.#spill?.close();
    this.#spill = undefined;
    this.#pool.remove(this);
  }
}

/** A channel through which nothing goes: whoever reads it, as often as they like, sees its end at once. */
export class EndedChannel extends Channel {
  override get hasWriter(): boolean {
    return true;
  }

  override takeWriter(): boolean {
    return false;
  }

  override takeReader(sink: ChannelSink): boolean {
    sink.end();
    return true;
  }

  override pull(): void {}

  override abort(): void {}
}

/** Stands where a message was: its bytes are free at once. */
const TAKEN: ChannelMessage = { data: Buffer.alloc(0), isText: false };
