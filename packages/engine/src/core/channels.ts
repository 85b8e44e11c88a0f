/**
 * The channels of an engine: made for a session, found by id and key, ended with whoever made them.
 */
import { timingSafeEqual } from 'node:crypto';
import { ErrorCode, TrineError } from '@trine/protocol';
import { Channel, CHANNEL_UNIT_BYTES, EndedChannel } from './channel.js';
import type { Clock, Timer } from './clock.js';
import type { Random } from './random.js';
import type { Session } from './session.js';

/** Buffer of a channel whose maker says nothing, and the most that can be asked for, in units of 64 KiB. */
export const DEFAULT_BUFFER_UNITS = 64;
export const MAX_BUFFER_UNITS = 1_024;

/** A channel with an end that nobody took is removed after this long, in milliseconds (as in the reference). */
export const STALE_CHANNEL_MS = 300_000;
/** How often those are looked for, in milliseconds. */
const STALE_SWEEP_MS = 60_000;

/**
 * How long the writer of a channel has to finish when its owner leaves, in milliseconds: SDKs close a writer
 * 10 ms after its last byte, on a socket of its own, and a worker that is done closes both at once.
 */
export const OWNER_GONE_GRACE_MS = 1_000;

/** Most channels that one session may have open: each may hold a buffer. */
export const MAX_CHANNELS_PER_SESSION = 4_096;

export interface ChannelBounds {
  /** Above this, in bytes over all channels, each channel holds one unit only: memory of the process is finite. */
  readonly pooledBytes: number;
  /** Most that one channel keeps in a temporary file, in bytes. */
  readonly spillBytes: number;
  /** Most that all channels keep in temporary files, in bytes. */
  readonly pooledSpillBytes: number;
}

const MIB = 1024 * 1024;
/** Memory of all channel buffers above which each of them shrinks to one unit, in bytes. */
export const MAX_POOLED_BYTES = 512 * MIB;
/** Most that one channel keeps in a temporary file for a writer that cannot be paused, in bytes. */
export const MAX_SPILL_BYTES = 256 * MIB;
/** Most that all channels keep in temporary files, in bytes. */
export const MAX_POOLED_SPILL_BYTES = 4_096 * MIB;

export const defaultChannelBounds: ChannelBounds = {
  pooledBytes: MAX_POOLED_BYTES,
  spillBytes: MAX_SPILL_BYTES,
  pooledSpillBytes: MAX_POOLED_SPILL_BYTES,
};

/** What channels share. */
export interface ChannelPool {
  bufferedBytes: number;
  spilledBytes: number;
  readonly bounds: ChannelBounds;
  /** Told once of a channel that is over. */
  remove(channel: Channel): void;
}

export interface ChannelOptions {
  /** Buffer in units of 64 KiB; brought into 1 to 1024. Default 64 (4 MiB). */
  readonly bufferUnits?: number | undefined;
  /** Its maker ends it by itself: it neither ends with its owner nor is swept for an end that nobody took. */
  readonly isManaged?: boolean;
}

export class Channels {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #byId = new Map<string, { readonly channel: Channel; readonly owned: Set<Channel> | undefined }>();
  readonly #byOwner = new WeakMap<Session, Set<Channel>>();
  readonly #pool: ChannelPool;
  #ended: Channel | undefined;
  #idPrefix = '';
  #idCounter = 0;
  #sweep: Timer | undefined;

  constructor(clock: Clock, random: Random, bounds: Partial<ChannelBounds> = {}) {
    this.#clock = clock;
    this.#random = random;
    this.#pool = {
      bufferedBytes: 0,
      spilledBytes: 0,
      bounds: { ...defaultChannelBounds, ...bounds },
      remove: (channel) => this.#remove(channel),
    };
  }

  /** Channels that are not over. */
  get size(): number {
    return this.#byId.size - (this.#ended === undefined ? 0 : 1);
  }

  /** One for all: a channel that is at its end, for whoever has nothing to write. */
  get ended(): Channel {
    if (this.#ended === undefined) {
      this.#ended = new EndedChannel(this.#nextId(), this.#random.uuid(), 0, 0, true, 'engine', this.#pool);
      this.#byId.set(this.#ended.id, { channel: this.#ended, owned: undefined });
    }
    return this.#ended;
  }

  /** Bytes in the buffers of all channels. */
  get bufferedBytes(): number {
    return this.#pool.bufferedBytes;
  }

  /**
   * Makes a channel that ends with `owner`.
   *
   * @throws TrineError `too_many_channels`
   */
  create(owner: Session, options: ChannelOptions = {}): Channel {
    const isManaged = options.isManaged === true;
    const owned = isManaged ? undefined : this.#ownedBy(owner);
    if (owned !== undefined && owned.size >= MAX_CHANNELS_PER_SESSION) {
      const message = `${owner.label} has ${owned.size} channels open, which is the limit: close some first`;
      throw new TrineError(ErrorCode.tooManyChannels, message, { retryable: true });
    }
    const channel = new Channel(
      this.#nextId(),
      this.#random.uuid(),
      bufferUnits(options.bufferUnits) * CHANNEL_UNIT_BYTES,
      this.#clock.monotonic(),
      isManaged,
      owner.kind === 'remote' ? (owner.access?.rules ?? 'no rules') : 'engine',
      this.#pool,
    );
    owned?.add(channel);
    this.#byId.set(channel.id, { channel, owned });
    if (!isManaged) this.#armSweep();
    return channel;
  }

  /** The channel of that id, if the key is its key. Takes as long for a wrong key as for a right one. */
  open(id: string, key: string): Channel | undefined {
    const channel = this.#byId.get(id)?.channel;
    if (channel === undefined) return undefined;
    const expected = Buffer.from(channel.key);
    const given = Buffer.from(key);
    return given.length === expected.length && timingSafeEqual(given, expected) ? channel : undefined;
  }

  /**
   * The owner is gone for good. (One that may come back keeps its channels, see `move`.) What was written whole is
   * still delivered; what is being written gets a short while to be.
   */
  release(owner: Session): void {
    const owned = this.#byOwner.get(owner);
    if (owned === undefined) return;
    const unfinished = [...owned].filter((channel) => !channel.hasEnded);
    const writing = unfinished.filter((channel) => channel.hasWriter);
    for (const channel of unfinished) if (!channel.hasWriter) channel.abort('owner_gone');
    if (writing.length === 0) return;
    this.#clock.setTimer(() => {
      for (const channel of writing) if (!channel.hasEnded) channel.abort('owner_gone');
    }, OWNER_GONE_GRACE_MS);
  }

  /** A client came back on another connection: its channels are that one's. */
  move(from: Session, to: Session): void {
    const owned = this.#byOwner.get(from);
    if (owned === undefined) return;
    const target = this.#ownedBy(to);
    for (const channel of owned) {
      target.add(channel);
      this.#byId.set(channel.id, { channel, owned: target });
    }
    owned.clear();
  }

  /** Ends all of them. */
  stop(): void {
    this.#sweep?.cancel();
    this.#sweep = undefined;
    for (const { channel } of [...this.#byId.values()]) channel.abort('engine_stopping');
  }

  #remove(channel: Channel): void {
    this.#byId.get(channel.id)?.owned?.delete(channel);
    this.#byId.delete(channel.id);
  }

  /** UUID-shaped and unique in this engine. It may be guessed; the key may not. */
  #nextId(): string {
    const low = this.#idCounter % 0x1_0000_0000_0000;
    if (low === 0) this.#idPrefix = this.#random.uuid().slice(0, 24);
    this.#idCounter++;
    return this.#idPrefix + low.toString(16).padStart(12, '0');
  }

  #ownedBy(owner: Session): Set<Channel> {
    let owned = this.#byOwner.get(owner);
    if (owned === undefined) this.#byOwner.set(owner, (owned = new Set()));
    return owned;
  }

  #armSweep(): void {
    this.#sweep ??= this.#clock.setTimer(() => {
      this.#sweep = undefined;
      const now = this.#clock.monotonic();
      let left = false;
      for (const { channel } of [...this.#byId.values()]) {
        if (channel.isManaged || (channel.hasWriter && channel.hasReader)) continue;
        if (now - channel.createdAt >= STALE_CHANNEL_MS) channel.abort('never_opened');
        else left = true;
      }
      if (left) this.#armSweep();
    }, STALE_SWEEP_MS);
  }
}

function bufferUnits(asked: number | undefined): number {
  return Math.min(MAX_BUFFER_UNITS, Math.max(1, Math.floor(asked ?? DEFAULT_BUFFER_UNITS)));
}
