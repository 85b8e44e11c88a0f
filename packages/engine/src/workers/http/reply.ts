/**
 * What becomes of the call of a route's function: a value that it returns, or what it writes through the
 * response channel, whichever counts first.
 *
 *   asked     -> over        it returned a value or failed; or it closed the channel without bytes
 *   asked     -> silent      it returned nothing and has not opened the channel: SDKs open it late
 *   silent    -> over        it did not open it in time: 204
 *   asked, silent -> writing it returned nothing and has the channel: bytes or the end must come in time
 *   any of these -> streaming    the first bytes, or the head of an event stream: status and headers are out
 *   streaming -> over        all is written; or the channel was aborted, and the connection is cut so that
 *                            the client sees that something is missing
 *   any       -> over        the client left: call and channel are given up
 */
import type { ServerResponse } from 'node:http';
import type { Channel, ChannelSink } from '../../core/channel.js';
import type { Timer } from '../../core/clock.js';
import { CallHandle } from '../../core/pending-call.js';
import type { InvokeRequest, Outcome, WorkerHost } from '../../core/worker-host.js';
import { StreamHead } from './stream-head.js';

/**
 * After nothing was returned, the channel must be opened within this, in milliseconds, or within so many
 * round trips to the worker: both SDKs open its socket late (TCP, upgrade, and their own event loops).
 */
const MIN_SILENCE_MS = 250;
const SILENCE_ROUND_TRIPS = 6;
/** However slow the worker is, in milliseconds. */
const MAX_SILENCE_MS = 5_000;
/** Status and headers of an event stream may come in two messages: its head waits this long, in milliseconds. */
const EVENT_STREAM_HEAD_MS = 20;

/**
 * `nothing`: neither a value nor bytes. `late`: the time is over. `lost`: the channel was cut before the
 * first bytes. `streaming`: the answer is on its way, its end comes with the end of the response.
 * `gone`: the client left. `head`: the channel was closed without bytes.
 */
export type ReplyEnd =
  | { readonly kind: 'outcome'; readonly outcome: Outcome }
  | { readonly kind: 'head'; readonly head: StreamHead }
  | { readonly kind: 'nothing' | 'late' | 'lost' | 'streaming' | 'gone' | 'too_large' };

/** What a reply needs of the request that it belongs to. */
export interface ReplyParts {
  readonly host: WorkerHost;
  /** Sends status and headers. */
  writeHead(head: StreamHead): void;
  /** A header of the function cannot be sent. */
  badHeader(name: string): void;
}

export class Reply implements ChannelSink {
  readonly #parts: ReplyParts;
  readonly #res: ServerResponse;
  readonly #channel: Channel;
  readonly #deadline: number;
  /** Goes with the request that `ask` is given. */
  readonly handle = new CallHandle();
  #state: 'asked' | 'silent' | 'writing' | 'streaming' | 'over' = 'asked';
  #head: StreamHead | undefined;
  #isLost = false;
  #leftBytes = Infinity;
  #timer: Timer | undefined;
  #headTimer: Timer | undefined;
  #resolve: ((end: ReplyEnd) => void) | undefined;

  /** @param deadline - steady clock, milliseconds */
  constructor(parts: ReplyParts, res: ServerResponse, channel: Channel, deadline: number) {
    this.#parts = parts;
    this.#res = res;
    this.#channel = channel;
    this.#deadline = deadline;
  }

  /** Calls the function. */
  ask(request: InvokeRequest & { readonly handle: CallHandle }): Promise<ReplyEnd> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#channel.takeReader(this);
      this.#channel.pull();
      this.#parts.host.invoke(request, (outcome) => this.#settled(outcome));
    });
  }

  /** The client is gone, or sends what it must not: nothing more is wanted. */
  giveUp(kind: 'gone' | 'too_large'): void {
    if (this.#state === 'over') return;
    if (this.#state === 'streaming') this.#res.destroy();
    this.#over({ kind });
    this.handle.cancel();
    this.#channel.abort('client_gone');
  }

  deliver(data: Buffer, isText: boolean): boolean {
    if (this.#state === 'over') return false;
    if (!isText) {
      if (this.#state !== 'streaming') this.#begin();
      return this.#write(data);
    }
    if (this.#state !== 'streaming') this.#control(data.toString());
    return true;
  }

  end(): void {
    if (this.#state === 'over') return;
    if (this.#state !== 'streaming') {
      this.#over({ kind: 'head', head: this.#head ?? new StreamHead() });
      return;
    }
    this.#state = 'over';
    if (this.#leftBytes > 0 && this.#leftBytes !== Infinity) this.#cut('it wrote less than its content-length');
    else this.#res.end();
  }

  abort(reason: string): void {
    if (this.#state === 'over') return;
    if (this.#state === 'streaming') {
      this.#state = 'over';
      this.#cut(reason);
      return;
    }
    this.#isLost = true;
    if (this.#state !== 'asked') this.#over({ kind: 'lost' });
  }

  #settled(outcome: Outcome): void {
    if (this.#state !== 'asked') return;
    if (!outcome.ok || (outcome.result !== undefined && !outcome.result.isNull))
      this.#over({ kind: 'outcome', outcome });
    else if (this.#isLost) this.#over({ kind: 'lost' });
    else if (this.#channel.hasWriter) this.#awaitBytes();
    else this.#awaitWriter();
  }

  #awaitWriter(): void {
    this.#state = 'silent';
    const { clock } = this.#parts.host;
    const since = clock.monotonic();
    const wait = (silenceMs: number): void => {
      this.#timer?.cancel();
      const restMs = Math.min(since + silenceMs, this.#deadline) - clock.monotonic();
      this.#timer = clock.setTimer(() => {
        if (this.#channel.hasWriter) this.#awaitBytes();
        else this.#over({ kind: 'nothing' });
      }, restMs);
    };
    wait(MAX_SILENCE_MS);
    void this.handle.roundTrip().then((roundTripMs) => {
      if (this.#state !== 'silent') return;
      wait(Math.min(MAX_SILENCE_MS, Math.max(MIN_SILENCE_MS, SILENCE_ROUND_TRIPS * roundTripMs)));
    });
  }

  #awaitBytes(): void {
    this.#state = 'writing';
    const { clock } = this.#parts.host;
    this.#timer?.cancel();
    this.#timer = clock.setTimer(() => this.#over({ kind: 'late' }), this.#deadline - clock.monotonic());
  }

  #control(text: string): void {
    const { host } = this.#parts;
    this.#head ??= new StreamHead();
    const fault = this.#head.apply(text, (name) => this.#parts.badHeader(name));
    if (fault !== undefined) host.log.warn(`message on a response channel ignored: ${fault}`);
    if (this.#head.isEventStream && this.#headTimer === undefined)
      this.#headTimer = host.clock.setTimer(() => this.#begin(), EVENT_STREAM_HEAD_MS);
  }

  /** Sends the head; from here on the function's value does not matter. */
  #begin(): void {
    if (this.#state === 'over' || this.#state === 'streaming') return;
    const head = (this.#head ??= new StreamHead());
    this.#over({ kind: 'streaming' });
    this.#state = 'streaming';
    this.#leftBytes = head.contentLength ?? Infinity;
    this.#parts.writeHead(head);
    if (!hasBody(this.#res, head.status)) {
      this.#state = 'over';
      this.#res.end();
      this.#channel.abort('request_ended');
      return;
    }
    this.#res.flushHeaders();
    this.#res.on('drain', () => this.#channel.pull());
  }

  #write(data: Buffer): boolean {
    if (this.#state !== 'streaming') return false;
    if (data.length > this.#leftBytes) {
      // More would be taken for the next answer on the connection.
      this.#state = 'over';
      this.#res.end(data.subarray(0, this.#leftBytes));
      this.#channel.abort('request_ended');
      this.#parts.host.log.warn('response cut: the function wrote more than its content-length');
      return false;
    }
    this.#leftBytes -= data.length;
    return this.#res.write(data);
  }

  #cut(why: string): void {
    this.#parts.host.log.warn('response cut: the function did not write all of it', { reason: why });
    this.#res.destroy();
  }

  #over(end: ReplyEnd): void {
    this.#state = 'over';
    this.#timer?.cancel();
    this.#headTimer?.cancel();
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve?.(end);
  }
}

function hasBody(res: ServerResponse, status: number): boolean {
  return res.req.method !== 'HEAD' && status !== 204 && status !== 304;
}
