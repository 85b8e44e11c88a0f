/**
 * The body of a request on its way into the channel that the function may read. Nothing moves until
 * somebody reads; then the client is held back as far as the reader is.
 *
 *   idle -> pumping -> ended       all of it is in the channel
 *   idle | pumping -> stopped      the channel was aborted, the client left or stood still, or sent too much
 */
import type { IncomingMessage } from 'node:http';
import { CHANNEL_UNIT_BYTES, type AbortReason, type Channel, type ChannelSource } from '../../core/channel.js';
import type { Clock, Timer } from '../../core/clock.js';

/** A client that sends nothing for this long, while its body is wanted, is cut, in milliseconds. */
const BODY_IDLE_MS = 300_000;

/** A body that was read whole already, because it is JSON: the same bytes once more. */
export class HeldBody implements ChannelSource {
  constructor(
    private readonly channel: Channel,
    private readonly body: Buffer,
  ) {}

  readerTaken(): void {
    const { channel, body } = this;
    // In memory it is anyway, so the channel need not hold it back.
    for (let at = 0; at < body.length; at += CHANNEL_UNIT_BYTES)
      channel.write(body.subarray(at, at + CHANNEL_UNIT_BYTES), false);
    channel.end();
  }

  pause(): void {}

  resume(): void {}

  abort(): void {}
}

export class StreamedBody implements ChannelSource {
  #bytes = 0;
  #bytesSeen = 0;
  #isPaused = false;
  #idle: Timer | undefined;
  #state: 'idle' | 'pumping' | 'ended' | 'stopped' = 'idle';

  /** @param onTooLarge - more than `maxBytes` came: the channel is aborted */
  constructor(
    private readonly channel: Channel,
    private readonly req: IncomingMessage,
    private readonly maxBytes: number,
    private readonly clock: Clock,
    private readonly onTooLarge: () => void,
  ) {}

  readerTaken(): void {
    const { req } = this;
    if (this.#state !== 'idle') return;
    if (req.destroyed) return this.channel.abort('client_gone');
    this.#state = 'pumping';
    req.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('error', this.#onClose);
    this.#watch();
  }

  pause(): void {
    this.#isPaused = true;
    this.req.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#state === 'pumping') this.req.resume();
  }

  abort(_reason: AbortReason): void {
    if (this.#state === 'pumping') this.req.pause();
    this.#stop('stopped');
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes += chunk.length;
    if (this.#bytes > this.maxBytes) {
      this.channel.abort('body_too_large');
      this.onTooLarge();
      return;
    }
    for (let at = 0; at < chunk.length; at += CHANNEL_UNIT_BYTES)
      this.channel.write(chunk.subarray(at, at + CHANNEL_UNIT_BYTES), false);
  };

  readonly #onEnd = (): void => {
    this.#stop('ended');
    this.channel.end();
  };

  readonly #onClose = (): void => {
    this.channel.abort('client_gone');
  };

  #stop(state: 'ended' | 'stopped'): void {
    const wasPumping = this.#state === 'pumping';
    this.#state = state;
    this.#idle?.cancel();
    if (!wasPumping) return;
    const { req } = this;
    req.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose).off('error', this.#onClose);
    req.on('error', () => undefined); // a request that fails later has nobody else who listens
  }

  #watch(): void {
    this.#bytesSeen = this.#bytes;
    this.#idle = this.clock.setTimer(() => {
      if (this.#state !== 'pumping') return;
      if (this.#bytes === this.#bytesSeen && !this.#isPaused) this.req.destroy();
      else this.#watch();
    }, BODY_IDLE_MS);
  }
}
