/**
 * The socket of a channel's writer.
 *
 *   reading -> paused     the channel is full: TCP holds the peer back
 *   paused  -> reading    there is room again
 *   paused  -> sipping    the peer has stood still for a while: as much is read as can be on its way. Of one that
 *                         pings (the Python SDK), again and again, put aside until its ping, which lies behind
 *                         its data, comes by and is answered; of any other once, for its Close, which it may
 *                         be waiting to have answered
 *   sipping -> paused     the ping came by, or as much did as can have lain before it or the Close
 *   any     -> closed     the peer closed (clean end), was lost (abort), or the channel was aborted
 */
import type { RawData, WebSocket } from 'ws';
import type { AbortReason, Channel, ChannelSource } from '../core/channel.js';
import type { Clock, Timer } from '../core/clock.js';
import { ABORTED } from './channel-wire.js';

/**
 * A writer is read from again after it has been paused this long, in milliseconds: the Python SDK pings every
 * 20 s and cuts a connection whose pong does not come within another 20 s, and the Node SDK's library
 * destroys a socket whose Close is not answered within 30 s, with what the kernel has not taken of it.
 */
const SIP_AFTER_MS = 10_000;
/** Read in one go then, in bytes: more than the kernels' buffers of both sides keep (Linux: 4 MiB and 6 MiB). */
const SIP_BYTES = 12 * 1024 * 1024;

/** Close codes that say nothing went wrong: none, normal, and those that applications choose. */
const NORMAL = 1000;
const NO_STATUS = 1005;
const FIRST_OWN_CODE = 3000;

export class ChannelWriterSocket implements ChannelSource {
  readonly #ws: WebSocket;
  readonly #channel: Channel;
  readonly #clock: Clock;
  readonly #pings: boolean;
  #mode: 'reading' | 'paused' | 'sipping' | 'closed' = 'reading';
  #sip: Timer | undefined;
  #sippedBytes = 0;
  /** Since it was last resumed. */
  #hasSipped = false;

  /** @param pings - the peer pings and wants to be answered */
  constructor(ws: WebSocket, channel: Channel, clock: Clock, pings: boolean) {
    this.#ws = ws;
    this.#channel = channel;
    this.#clock = clock;
    this.#pings = pings;
    ws.on('message', (data: RawData, isBinary: boolean) => this.#message(data as Buffer, !isBinary));
    ws.on('close', (code: number) => this.#closed(code));
    ws.on('ping', () => this.#pinged());
  }

  pause(): void {
    if (this.#mode !== 'reading') return;
    this.#stand();
  }

  resume(): void {
    if (this.#mode === 'closed') return;
    this.#sip?.cancel();
    this.#hasSipped = false;
    this.#mode = 'reading';
    this.#ws.resume();
  }

  abort(reason: AbortReason): void {
    if (this.#mode === 'closed') return;
    this.#mode = 'closed';
    this.#sip?.cancel();
    this.#ws.close(ABORTED, reason);
    this.#ws.resume(); // its Close lies behind its data
  }

  #message(data: Buffer, isText: boolean): void {
    if (this.#mode !== 'sipping') {
      this.#channel.write(data, isText);
      return;
    }
    let behind: Promise<void> | undefined;
    if (this.#pings) behind = this.#channel.writeAside(data, isText);
    // Once, a little more than the channel wants to hold: no need for a file.
    else this.#channel.write(data, isText);
    this.#sippedBytes += data.length;
    // `writeAside` may have ended the channel.
    if (this.#isSipping() && this.#sippedBytes >= SIP_BYTES) this.#stand();
    if (behind === undefined) return;
    this.#ws.pause();
    void behind.then(() => {
      if (this.#mode === 'sipping' || this.#mode === 'reading') this.#ws.resume();
    });
  }

  #isSipping(): boolean {
    return this.#mode === 'sipping';
  }

  #pinged(): void {
    if (this.#mode === 'sipping') this.#stand();
  }

  #stand(): void {
    this.#mode = 'paused';
    this.#ws.pause();
    if (!this.#pings && (this.#hasSipped || this.#channel.isCramped)) return;
    this.#sip = this.#clock.setTimer(() => {
      this.#mode = 'sipping';
      this.#hasSipped = true;
      this.#sippedBytes = 0;
      this.#ws.resume();
    }, SIP_AFTER_MS);
  }

  #closed(code: number): void {
    this.#mode = 'closed';
    this.#sip?.cancel();
    if (code === NORMAL || code === NO_STATUS || code >= FIRST_OWN_CODE) this.#channel.end();
    else this.#channel.abort('writer_lost');
  }
}
