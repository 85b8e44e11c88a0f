/**
 * Another engine, reached as one of its workers: calls, functions and triggers over one WebSocket that
 * connects again whenever it ends.
 *
 * States:
 *
 *   idle -> connecting                 `open()`
 *   connecting -> ready                the other engine greeted: registrations go out, then what waits
 *   connecting, ready -> waiting       the socket ended: calls that were sent are lost
 *   waiting -> connecting              after the backoff
 *   any -> closed                      `close()`
 *
 * A call that finds no connection waits for one up to its patience; it is sent at most once.
 */
import {
  decodeFrame,
  encodeRefusal,
  encodeResult,
  ErrorCode,
  functionNotFound,
  PONG_FRAME,
  toErrorBody,
  type ErrorBody,
  type InvokeFunctionFrame,
  type Payload,
} from '@trine/protocol';
import type { Socket } from 'node:net';
import { WebSocket, type RawData } from 'ws';
import type { Clock, Timer } from '../core/clock.js';
import type { Log } from '../core/log.js';
import { exceeds, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES, PIECE_BYTES } from '../core/message-limit.js';
import type { Random } from '../core/random.js';
import type { Outcome, Registration } from '../core/worker-host.js';
import { ENGINE_VERSION } from '../version.js';
import { lost, overloaded, timedOut, tooLarge, tooManyHops, unreachable } from './errors.js';
import {
  encodeCall,
  encodeIntroduction,
  encodeRegisterFunction,
  encodeTrigger,
  encodeUnregister,
  encodeUnregisterFunction,
} from './frames.js';
import { crossBridge, MAX_HOPS } from './hops.js';

/** How long a call waits for its answer unless told otherwise, in milliseconds (the SDKs' default). */
export const DEFAULT_REMOTE_TIMEOUT_MS = 30_000;
/** How long a call waits for a connection, in milliseconds: over the restart of the other engine, and no longer. */
const CONNECT_PATIENCE_MS = 5_000;
/** Calls that wait for a connection. */
export const MAX_WAITING_CALLS = 1_000;
/** Text of the calls that wait for a connection, in UTF-16 units. */
const MAX_WAITING_LENGTH = 16 * 1024 * 1024;
/** Calls that were sent and not answered. */
const MAX_SENT_CALLS = 10_000;
/** Calls of the other engine that run here. */
const MAX_INCOMING_CALLS = 10_000;
/** Bytes that wait to be sent; above it calls are refused. */
const MAX_OUTBOUND_BYTES = 64 * 1024 * 1024;
/** First wait between two tries to connect, in milliseconds. Each wait is twice the one before. */
const MIN_BACKOFF_MS = 100;
/** Longest wait between two tries to connect, in milliseconds. */
const MAX_BACKOFF_MS = 10_000;
/** Doublings of the wait after which the longest one is reached. */
const MAX_DOUBLINGS = 10;
/** Share of a wait that chance adds or takes, so that many bridges do not come back at once. */
const BACKOFF_JITTER = 0.3;
/** Time for a connection to be made and greeted, in milliseconds. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** How often a silent connection is pinged, in milliseconds; after three without a byte it is cut. */
const PING_EVERY_MS = 20_000;
const MISSED_PINGS = 3;

/** What goes along with a call that leaves this engine. A handler's context is one. */
export interface RemoteContext {
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
  readonly metadata?: Payload | undefined;
}

export interface RemoteCall {
  readonly functionId: string;
  readonly payload: Payload;
  readonly context: RemoteContext;
  /** Default 30 s. */
  readonly timeoutMs?: number | undefined;
}

/** A call from the other engine. Who passes it on as a call must count the crossing: `crossBridge`. */
export interface IncomingCall extends RemoteContext {
  readonly payload: Payload;
}

export interface RemoteEngineOptions {
  readonly url: string;
  /** The name this connection goes by on the other engine. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Told of every connection but the first: what happened meanwhile was not seen. */
  readonly onReconnected?: () => void;
}

interface OfferedFunction {
  readonly id: string;
  readonly description: string;
  readonly handler: (call: IncomingCall) => Promise<Outcome>;
}

interface BoundTrigger {
  readonly id: string;
  readonly type: string;
  readonly functionId: string;
  readonly config: unknown;
}

interface OpenCall {
  readonly functionId: string;
  readonly id: string;
  readonly settle: ((outcome: Outcome) => void) | undefined;
  timer: Timer | undefined;
}

interface WaitingCall extends OpenCall {
  readonly text: string;
  readonly timeoutMs: number;
}

type State = 'idle' | 'connecting' | 'ready' | 'waiting' | 'closed';

export class RemoteEngine {
  readonly #options: RemoteEngineOptions;
  readonly #log: Log;
  readonly #functions = new Map<string, OfferedFunction>();
  readonly #triggers = new Map<string, BoundTrigger>();
  readonly #sent = new Map<string, OpenCall>();
  readonly #waiting = new Set<WaitingCall>();
  #waitingLength = 0;
  #incoming = 0;
  #state: State = 'idle';
  #ws: WebSocket | undefined;
  #retry: Timer | undefined;
  #watch: Timer | undefined;
  #failures = 0;
  #connections = 0;
  /** Why there is no connection, for errors. */
  #reason = 'not connected yet';

  constructor(options: RemoteEngineOptions) {
    this.#options = options;
    this.#log = options.log;
  }

  get url(): string {
    return this.#options.url;
  }

  get isReady(): boolean {
    return this.#state === 'ready';
  }

  /** Starts connecting. Does not wait: the other engine may come later. */
  open(): void {
    if (this.#state === 'idle') this.#connect();
  }

  /** Calls a function of the other engine. Never rejects. */
  invoke(call: RemoteCall): Promise<Outcome> {
    return new Promise((settle) => this.#start(call, this.#options.random.uuid(), settle));
  }

  /** Calls a function of the other engine without an answer; what cannot be sent is logged. */
  send(call: RemoteCall): void {
    this.#start(call, undefined, (outcome) => {
      if (!outcome.ok)
        this.#log.warn('call to another engine was dropped', {
          function: call.functionId,
          code: outcome.error.code,
          error: outcome.error.message,
        });
    });
  }

  /** Offers a function to the other engine, now and after every reconnect. */
  registerFunction(id: string, description: string, handler: OfferedFunction['handler']): Registration {
    const offered = { id, description, handler };
    this.#functions.set(id, offered);
    if (this.isReady) this.#write(encodeRegisterFunction(id, description));
    return {
      remove: () => {
        if (this.#functions.get(id) !== offered) return;
        this.#functions.delete(id);
        if (this.isReady) this.#write(encodeUnregisterFunction(id));
      },
    };
  }

  /** Binds a trigger on the other engine, now and after every reconnect. */
  registerTrigger(type: string, functionId: string, config: unknown): Registration {
    const trigger = { id: this.#options.random.uuid(), type, functionId, config };
    this.#triggers.set(trigger.id, trigger);
    if (this.isReady) this.#write(encodeTrigger(trigger.id, type, functionId, config));
    return {
      remove: () => {
        if (this.#triggers.delete(trigger.id) && this.isReady) this.#write(encodeUnregister(trigger.id, type));
      },
    };
  }

  /** Ends the connection and every call. Idempotent. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#reason = 'this engine closed it';
    this.#retry?.cancel();
    this.#watch?.cancel();
    for (const call of [...this.#waiting]) this.#refuse(call);
    const ws = this.#ws;
    this.#ws = undefined;
    ws?.close(1000);
    // A peer that does not answer the Close keeps nobody waiting.
    if (ws !== undefined) setImmediate(() => ws.terminate());
    this.#loseSent();
  }

  #start(call: RemoteCall, id: string | undefined, settle: (outcome: Outcome) => void): void {
    const { functionId } = call;
    const baggage = crossBridge(call.context.baggage);
    if (baggage === undefined) return fail(settle, tooManyHops(functionId, MAX_HOPS), 'refused');
    const text = encodeCall(id, call, baggage);
    if (exceeds(text, MAX_MESSAGE_BYTES)) {
      const what = `the call of ${functionId}`;
      return fail(settle, tooLarge(this.url, what, text.length, MAX_MESSAGE_BYTES), 'refused');
    }
    const timeoutMs = call.timeoutMs ?? DEFAULT_REMOTE_TIMEOUT_MS;
    const open: OpenCall = { functionId, id: id ?? '', settle, timer: undefined };
    if (this.isReady) return this.#send(open, text, timeoutMs);
    if (this.#state === 'closed' || this.#state === 'idle')
      return fail(settle, unreachable(this.url, functionId, this.#reason), 'refused');
    if (
      this.#waiting.size >= MAX_WAITING_CALLS ||
      (this.#waiting.size > 0 && this.#waitingLength + text.length > MAX_WAITING_LENGTH)
    )
      return fail(settle, overloaded(this.url, functionId, `${this.#waiting.size} calls wait`), 'refused');
    const waiting: WaitingCall = { ...open, text, timeoutMs };
    this.#waiting.add(waiting);
    this.#waitingLength += text.length;
    waiting.timer = this.#options.clock.setTimer(() => this.#refuse(waiting), Math.min(timeoutMs, CONNECT_PATIENCE_MS));
  }

  #send(call: OpenCall, text: string, timeoutMs: number): void {
    const { functionId, id, settle } = call;
    if (settle === undefined) return;
    const buffered = this.#ws?.bufferedAmount ?? 0;
    if (buffered > MAX_OUTBOUND_BYTES)
      return fail(settle, overloaded(this.url, functionId, `${buffered} bytes wait to be sent`), 'refused');
    if (id === '') {
      this.#write(text);
      settle({ ok: true, result: undefined });
      return;
    }
    if (this.#sent.size >= MAX_SENT_CALLS)
      return fail(settle, overloaded(this.url, functionId, `${this.#sent.size} calls have no answer yet`), 'refused');
    this.#sent.set(id, call);
    call.timer = this.#options.clock.setTimer(() => {
      this.#sent.delete(id);
      fail(settle, timedOut(this.url, functionId, timeoutMs), 'timeout');
    }, timeoutMs);
    this.#write(text);
  }

  #refuse(call: WaitingCall): void {
    this.#unqueue(call);
    if (call.settle !== undefined) fail(call.settle, unreachable(this.url, call.functionId, this.#reason), 'refused');
  }

  #unqueue(call: WaitingCall): void {
    call.timer?.cancel();
    if (this.#waiting.delete(call)) this.#waitingLength -= call.text.length;
  }

  #loseSent(): void {
    const sent = [...this.#sent.values()];
    this.#sent.clear();
    for (const { functionId, settle, timer } of sent) {
      timer?.cancel();
      if (settle !== undefined) fail(settle, lost(this.url, functionId), 'lost');
    }
  }

  #connect(): void {
    this.#state = 'connecting';
    const ws = new WebSocket(this.url, {
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
    });
    this.#ws = ws;
    let socket: Socket | undefined;
    ws.on('upgrade', (response) => (socket = response.socket));
    ws.on('message', (data: RawData, isBinary: boolean) => {
      if (!isBinary && this.#ws === ws) this.#receive((data as Buffer).toString());
    });
    ws.on('error', (error) => {
      if (this.#ws === ws)
        this.#reason = error.message === '' ? ((error as NodeJS.ErrnoException).code ?? 'failed') : error.message;
    });
    ws.on('close', (code) => {
      if (this.#ws === ws) this.#ended(code);
    });
    this.#armWatch(ws, () => socket?.bytesRead ?? 0);
  }

  /**
   * Pings a silent peer, and cuts it off when nothing comes back; one that never greets as well.
   *
   * @param bytesRead - so far: a large message on a slow line shows in nothing else
   */
  #armWatch(ws: WebSocket, bytesRead: () => number, before = 0, pings = 0): void {
    this.#watch?.cancel();
    this.#watch = this.#options.clock.setTimer(() => {
      if (this.#ws !== ws) return;
      const now = bytesRead();
      const unanswered = now === before ? pings : 0;
      if (this.#state === 'connecting' || unanswered >= MISSED_PINGS) {
        this.#reason = 'it does not answer';
        ws.terminate();
        return;
      }
      if (ws.readyState === WebSocket.OPEN) ws.ping();
      this.#armWatch(ws, bytesRead, now, unanswered + 1);
    }, PING_EVERY_MS);
  }

  #ended(code: number): void {
    const wasReady = this.#state === 'ready';
    this.#ws = undefined;
    this.#watch?.cancel();
    this.#state = 'waiting';
    if (wasReady) {
      this.#reason = `its connection ended with code ${code}`;
      this.#log.warn('connection to another engine ended: connecting again', { url: this.url, code });
    } else if (this.#failures === 0) {
      this.#log.warn('another engine cannot be reached: trying again until it can', {
        url: this.url,
        error: this.#reason,
      });
    }
    this.#loseSent();
    const jitter = 1 + BACKOFF_JITTER * (2 * this.#options.random.float() - 1);
    const wait = MIN_BACKOFF_MS * 2 ** Math.min(this.#failures, MAX_DOUBLINGS) * jitter;
    this.#failures++;
    this.#retry = this.#options.clock.setTimer(() => this.#connect(), Math.min(MAX_BACKOFF_MS, wait));
  }

  /** The other engine greeted: it takes frames in order, so what was registered is there before any call. */
  #greeted(): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'ready';
    this.#failures = 0;
    this.#write(encodeIntroduction(this.#options.name, ENGINE_VERSION));
    for (const { id, description } of this.#functions.values()) this.#write(encodeRegisterFunction(id, description));
    for (const { id, type, functionId, config } of this.#triggers.values())
      this.#write(encodeTrigger(id, type, functionId, config));
    this.#log.info('connected to another engine', { url: this.url, as: this.#options.name });
    for (const call of [...this.#waiting]) {
      this.#unqueue(call);
      this.#send(call, call.text, call.timeoutMs);
    }
    if (this.#connections++ > 0) this.#options.onReconnected?.();
  }

  #receive(text: string): void {
    const frame = decodeFrame(text);
    switch (frame.type) {
      case 'invocationresult': {
        const call = this.#sent.get(frame.invocationId);
        if (call === undefined) return; // late: its caller gave up
        this.#sent.delete(frame.invocationId);
        call.timer?.cancel();
        if (frame.error !== undefined) call.settle?.({ ok: false, error: frame.error, cause: 'handler' });
        else call.settle?.({ ok: true, result: frame.result });
        return;
      }
      case 'invokefunction':
        void this.#serve(frame);
        return;
      case 'triggerregistrationresult':
        if (frame.error !== undefined)
          this.#log.warn('another engine refused a trigger', {
            url: this.url,
            type: frame.triggerType,
            function: frame.functionId,
            ...frame.error,
          });
        return;
      case 'ping':
        this.#write(PONG_FRAME);
        return;
      case 'ignored':
        if (frame.name === 'workerregistered') this.#greeted();
        return;
      case 'unknown':
        // A refused connection is told in a frame `error` before its Close.
        if (frame.name === 'error') this.#reason = `it refused the connection: ${text.slice(0, MAX_REASON_LENGTH)}`;
        return;
      case 'bad':
        this.#log.warn('frame of another engine cannot be read', { url: this.url, error: frame.message });
        if (frame.frameType === 'invocationresult' && frame.invocationId !== undefined) {
          const call = this.#sent.get(frame.invocationId);
          this.#sent.delete(frame.invocationId);
          call?.timer?.cancel();
          if (call?.settle !== undefined) fail(call.settle, { code: frame.code, message: frame.message }, 'handler');
        }
        return;
      default:
        return; // frames for providers of trigger types, which this connection is not
    }
  }

  async #serve(frame: InvokeFunctionFrame): Promise<void> {
    const { invocationId, functionId, traceparent, baggage } = frame;
    const ws = this.#ws;
    const outcome = await this.#run(frame);
    if (invocationId === undefined || this.#ws !== ws || !this.isReady) return;
    const text = outcome.ok
      ? encodeResult(invocationId, functionId, outcome.result?.json, undefined, traceparent, baggage)
      : encodeResult(invocationId, functionId, undefined, outcome.error, traceparent, baggage);
    if (exceeds(text, MAX_MESSAGE_BYTES)) {
      const error = tooLarge(this.url, `the answer of ${functionId}`, text.length, MAX_MESSAGE_BYTES);
      this.#write(encodeRefusal(invocationId, functionId, error));
      return;
    }
    this.#write(text);
  }

  async #run(frame: InvokeFunctionFrame): Promise<Outcome> {
    const { functionId, data, metadata, traceparent, baggage } = frame;
    const offered = this.#functions.get(functionId);
    if (offered === undefined) return refused(functionNotFound(functionId).toBody());
    if (this.#incoming >= MAX_INCOMING_CALLS) {
      const message = `${this.#incoming} calls over this bridge run, which is the limit: wait for answers`;
      return refused({ code: ErrorCode.tooManyCalls, message });
    }
    this.#incoming++;
    try {
      return await offered.handler({ payload: data, metadata, traceparent, baggage });
    } catch (error) {
      return { ok: false, error: toErrorBody(error), cause: 'handler' };
    } finally {
      this.#incoming--;
    }
  }

  #write(text: string): void {
    const ws = this.#ws;
    if (!exceeds(text, MAX_FRAME_BYTES)) {
      ws?.send(text);
      return;
    }
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += PIECE_BYTES)
      ws?.send(bytes.subarray(at, at + PIECE_BYTES), { binary: false, fin: at + PIECE_BYTES >= bytes.length });
  }
}

/** Most of an error frame that is told. */
const MAX_REASON_LENGTH = 300;

function fail(
  settle: (outcome: Outcome) => void,
  error: ErrorBody,
  cause: 'refused' | 'lost' | 'timeout' | 'handler',
): void {
  settle({ ok: false, error, cause });
}

function refused(error: ErrorBody): Outcome {
  return { ok: false, error, cause: 'refused' };
}
