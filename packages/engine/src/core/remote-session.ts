/**
 * A session on a socket: turns frames into calls on the core and back.
 *
 * Frames of one connection are handled strictly in order: one that has to wait (a trigger whose
 * provider commits something first) holds back those behind it.
 */
import {
  blankNamespace,
  decodeFrame,
  DEFAULT_NAMESPACE,
  encodeInvoke,
  encodeRefusal,
  encodeResult,
  encodeTriggerRegistrationResult,
  encodeWorkerRegistered,
  ErrorCode,
  isBlank,
  PONG_FRAME,
  toErrorBody,
  type BadFrame,
  type ErrorBody,
  type InvocationResultFrame,
  type InvokeFunctionFrame,
  type ReattachFrame,
  type WorkerFrame,
} from '@trine/protocol';
import { notAllowed, withoutTrace } from './access.js';
import { Confirmations, MAX_KEPT_RESULT_BYTES } from './confirmations.js';
import type { Core } from './core.js';
import { ClientLog, MAX_FAULT_LINES, MAX_NEWS_LINES } from './client-log.js';
import type { Log, LogFields } from './log.js';
import { exceeds, isBefore, isPythonAgent, messageLimit, messageTooLarge } from './message-limit.js';
import type { PendingCall, Waiter } from './pending-call.js';
import { reattach } from './reattach.js';
import { Registrations } from './registrations.js';
import type { SessionAccess } from './session-access.js';
import { Session } from './session.js';
import type { Outcome } from './worker-host.js';

/** The socket under a session. */
export interface Transport {
  send(text: string): void;
  /** Bytes accepted by `send` that the peer has not taken yet. */
  readonly bufferedBytes: number;
  pauseReading(): void;
  resumeReading(): void;
  ping(payload: string): void;
  /** Ends the socket now, without a Close frame. */
  terminate(reason: string): void;
}

export interface SessionLimits {
  /** Above this many unsent bytes, the largest message aside, a session gets no new calls and is not read from. Default 16 MiB. */
  readonly outboundSoftBytes: number;
  /** Above this many unsent bytes, the largest message aside, large answers are replaced by an error and a session is cut off. Default 128 MiB. */
  readonly outboundHardBytes: number;
}

const MIB = 1024 * 1024;

export const defaultSessionLimits: SessionLimits = { outboundSoftBytes: 16 * MIB, outboundHardBytes: 128 * MIB };

/** Tells the pings that measure from those that confirm. */
const MEASURING_PING = 'rtt';

export class RemoteSession extends Session {
  readonly #core: Core;
  readonly #transport: Transport;
  readonly #log: Log;
  readonly #faults: ClientLog;
  readonly #news: ClientLog;
  readonly #limits: SessionLimits;
  readonly #isPythonSocket: boolean;
  override readonly reattachToken: string;
  /** Largest message that the client takes, in bytes. */
  #messageLimit: number;
  /** What the client has received; undefined when it is known that it cannot reattach. */
  #confirmations: Confirmations | undefined;
  readonly #registrations: Registrations;
  #canReattach = false;
  /** The sessions it took over from, one after the other, until it has described itself. */
  #predecessors: Session[] = [];
  /** The session that took over from this one. */
  #successor: Session | undefined;
  #backlog: WorkerFrame[] | undefined;
  #paused = false;
  /** Length of the largest of the large messages that may still wait. */
  #largeUnsent = 0;
  #unknownTypes: Set<string> | undefined;
  /** Who waits for the answer to the ping that measures, see `roundTrip`. */
  #measuring: (() => void)[] = [];

  constructor(
    core: Core,
    transport: Transport,
    options: {
      address?: string | undefined;
      userAgent?: string | undefined;
      limits?: Partial<SessionLimits>;
      access?: SessionAccess | undefined;
    },
  ) {
    super(core.random.uuid(), 'remote', core.clock.now(), options.address, options.access);
    this.#core = core;
    this.#transport = transport;
    this.#log = core.log.for('iii::worker_connections');
    this.#faults = new ClientLog(core.clock, MAX_FAULT_LINES);
    this.#news = new ClientLog(core.clock, MAX_NEWS_LINES);
    this.#limits = { ...defaultSessionLimits, ...options.limits };
    this.#isPythonSocket = isPythonAgent(options.userAgent);
    this.#messageLimit = messageLimit(this.info, this.#isPythonSocket);
    this.reattachToken = core.random.uuid();
    this.#registrations = new Registrations(core, this, {
      send: (text) => this.#send(text),
      tooLarge: (text, what) => (this.#tooLarge(text) ? this.#tooLargeError(what, text.length) : undefined),
      tell: (log, message) => this.#news.write('info', log, this.label, message, { worker: this.info.name }),
      wait: (done) => this.#wait(done),
    });
    this.#confirmations = new Confirmations(
      core.clock,
      (payload) => transport.ping(payload),
      () => this.executing.size > 0 || this.#confirmations?.isKeeping === true,
    );
    this.provisional = true;
    core.open(this);
    this.#log.info('Worker registered', { worker_id: this.id, ip_address: options.address });
    this.#send(encodeWorkerRegistered(this.id, this.reattachToken));
  }

  /** One text message from the socket. Never throws. */
  receive(text: string): void {
    if (this.state === 'closed') return;
    const frame = decodeFrame(text);
    if (frame.type === 'bad') {
      if (text.trim() !== '') this.#answerBad(frame);
      return;
    }
    if (this.#backlog !== undefined) this.#backlog.push(frame);
    else this.#handle(frame);
  }

  /** An answer to one of our pings. */
  pong(payload: string): void {
    if (payload === MEASURING_PING) {
      const measuring = this.#measuring;
      this.#measuring = [];
      for (const answered of measuring) answered();
      return;
    }
    this.#confirmations?.pong(payload);
  }

  /**
   * The socket is gone.
   *
   * @param final - nobody is expected to come back: the client closed it, or the listener stops
   */
  async closed(final: boolean): Promise<void> {
    if (this.state !== 'open') return;
    this.#faults.end(this.#log, this.label);
    this.#news.end(this.#log, this.label);
    const fields = { worker_id: this.id, name: this.info.name, ip_address: this.address, pid: this.info.pid };
    if (!final && this.#canReattach) {
      this.#log.info('Worker lost its connection', fields);
      this.#detach();
      return;
    }
    this.#log.info('Worker unregistered', fields);
    this.#confirmations?.stop();
    this.#registrations.stop();
    await this.#core.close(this);
  }

  override hasConfirmed(call: PendingCall): boolean {
    // A function behind an HTTP address runs here, whatever becomes of the connection.
    return call.owner.run !== undefined || this.#confirmations?.has(call.written) === true;
  }

  override warn(log: Log, message: string, fields: LogFields): void {
    this.#faults.write('warn', log, this.label, message, { worker: this.label, ...fields });
  }

  override cut(reason: string): void {
    if (this.state !== 'open') return;
    this.#transport.terminate(reason);
    this.#detach();
  }

  #detach(): void {
    this.#confirmations?.stop();
    this.#registrations.stop();
    this.#core.detach(this);
    for (const call of this.executing) {
      if (call.held || this.hasConfirmed(call)) continue;
      this.#core.router.lose(
        call,
        `Invocation stopped: worker ${this.label} lost its connection before it confirmed the call, which may or may not have run`,
      );
    }
  }

  override known(): void {
    const { runtime, version } = this.info;
    // One that has reattached and not described itself is what it was on the connection before.
    if (runtime === undefined && this.#predecessors.length > 0) return;
    this.#messageLimit = messageLimit(this.info, this.#isPythonSocket);
    this.#canReattach = runtime !== undefined && !isBefore(version, 0, 21, 8);
    if (!this.#canReattach) {
      this.#confirmations?.stop();
      this.#confirmations = undefined;
    }
    const predecessors = this.#predecessors;
    this.#predecessors = [];
    for (const predecessor of predecessors) void this.#core.close(predecessor);
  }

  /** The socket took what was buffered. */
  drained(): void {
    // What was sent in this turn has not reached the socket yet.
    if (this.#transport.bufferedBytes <= LARGE_CHARS) this.#largeUnsent = 0;
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#backlog === undefined) this.#transport.resumeReading();
  }

  execute(call: PendingCall): void {
    if (this.#isBehind()) {
      const message = `worker ${this.label} does not read fast enough (${this.#transport.bufferedBytes} bytes wait): ${call.functionId} was not delivered`;
      this.#core.router.fail(call, { code: ErrorCode.channelSendFailed, message }, 'refused');
      return;
    }
    const text = encodeInvoke(
      this.#core.router.idOf(call),
      call.owner.knownAs ?? call.functionId,
      call.payload.json,
      call.traceparent,
      call.baggage,
      call.metadata?.json,
    );
    if (this.#tooLarge(text)) {
      this.#core.router.fail(call, this.#tooLargeError(`the call of ${call.functionId}`, text.length), 'refused');
      return;
    }
    call.sent();
    if (this.#confirmations !== undefined) call.written = this.#confirmations.wrote();
    this.#send(text);
  }

  deliver(waiter: Waiter, outcome: Outcome): void {
    if (waiter.settle !== undefined) {
      waiter.settle(outcome);
      return;
    }
    if (waiter.callerInvocationId === undefined) return;
    if (this.#successor !== undefined) {
      this.#successor.deliver(waiter, outcome);
      return;
    }
    if (this.state === 'closed') return;
    const { callerInvocationId, functionId, traceparent, baggage } = waiter;
    let text = encodeResult(
      callerInvocationId,
      functionId,
      outcome.ok ? outcome.result?.json : undefined,
      outcome.ok ? undefined : withoutTrace(this, outcome.error),
      traceparent,
      baggage,
    );
    const fault = this.#undeliverable(text, functionId);
    if (fault !== undefined)
      text = encodeResult(callerInvocationId, functionId, undefined, fault, traceparent, baggage);
    this.#sendResult(text);
  }

  /** Why an answer cannot reach the client. An error can: a caller that heard nothing would wait for its time limit. */
  #undeliverable(text: string, functionId: string): ErrorBody | undefined {
    const isTooLarge = this.#tooLarge(text);
    if (!isTooLarge && text.length <= LARGE_CHARS) return undefined;
    const what = `the answer of ${functionId}`;
    if (isTooLarge) return this.#tooLargeError(what, text.length, functionId);
    if (this.state === 'detached') {
      if (text.length <= MAX_KEPT_RESULT_BYTES) return undefined;
      const message = `${what}, a message of about ${text.length} bytes, came while the connection of worker ${this.label} was lost, and is larger than what is kept for it (${MAX_KEPT_RESULT_BYTES} bytes)`;
      return { code: ErrorCode.invocationStopped, message };
    }
    if (!this.#wouldCut(text.length)) return undefined;
    const message = `worker ${this.label} does not read fast enough (${this.#transport.bufferedBytes} bytes wait): ${what}, a message of about ${text.length} bytes, was not delivered. Ask for fewer large answers at a time`;
    return { code: ErrorCode.channelSendFailed, message };
  }

  #sendResult(text: string): void {
    this.#confirmations?.keep(text);
    if (this.state === 'open') this.#send(text);
  }

  override roundTrip(): Promise<number> {
    const { clock } = this.#core;
    const sentAt = clock.monotonic();
    return new Promise((resolve) => {
      const isFirst = this.#measuring.push(() => resolve(clock.monotonic() - sentAt)) === 1;
      if (isFirst && this.state === 'open') this.#transport.ping(MEASURING_PING);
    });
  }

  reportTriggerError(
    trigger: { readonly id: string; readonly type: string; readonly functionId: string },
    error: ErrorBody,
  ): void {
    if (this.state !== 'open') return;
    const id = this.access?.triggers.own(trigger.id) ?? trigger.id;
    this.#send(encodeTriggerRegistrationResult(id, trigger.type, trigger.functionId, withoutTrace(this, error)));
  }

  #handle(frame: WorkerFrame): void {
    switch (frame.type) {
      case 'invokefunction':
        return this.#invoke(frame);
      case 'invocationresult':
        return this.#result(frame);
      case 'registerfunction':
        return this.#registrations.addFunction(frame);
      case 'unregisterfunction':
        return this.#registrations.removeFunction(frame.id);
      case 'registertriggertype':
        return this.#registrations.addTriggerType(frame);
      case 'unregistertriggertype':
        return this.#registrations.removeTriggerType(frame.id, frame.namespace);
      case 'registertrigger':
        return this.#registrations.addTrigger(frame);
      case 'unregistertrigger':
        return this.#registrations.removeTrigger(frame.id);
      case 'triggerregistrationresult':
        return this.#registrations.answered(frame.id, frame.error);
      case 'ping':
        return this.#send(PONG_FRAME);
      case 'reattach':
        return this.#reattach(frame);
      case 'ignored':
        return;
      case 'unknown':
        return this.#unknown(frame.name);
    }
  }

  #reattach(frame: ReattachFrame): void {
    const outcome = reattach(this.#core, this, frame);
    if (outcome.kind === 'ignored') {
      this.#log.info(`reattach ignored: ${outcome.reason}`, {
        worker_id: this.id,
        previous_worker_id: frame.previousWorkerId,
      });
      return;
    }
    const previous = outcome.previous as RemoteSession;
    const before = previous.#predecessors.filter(({ state }) => state !== 'closed');
    this.#predecessors.push(...before, previous);
    previous.#predecessors = [];
    this.#canReattach = true;
    this.#messageLimit = previous.#messageLimit;
    const kept = previous.#handOver(this);
    for (const text of kept) this.#sendResult(text);
    this.#log.info('Worker reattached', {
      worker_id: this.id,
      previous_worker_id: frame.previousWorkerId,
      executing: this.executing.size,
      waiting: this.waiting.size,
      results_sent_again: kept.length,
    });
  }

  /** Another session takes over; returns the results that its client may not have received. */
  #handOver(successor: Session): readonly string[] {
    this.#successor = successor;
    return this.#confirmations?.takeKept() ?? [];
  }

  #invoke(frame: InvokeFunctionFrame): void {
    const { action, invocationId } = frame;
    const namespace = frame.namespace ?? DEFAULT_NAMESPACE;
    const request = {
      functionId: frame.functionId,
      namespace,
      metadata: frame.metadata,
      traceparent: frame.traceparent,
      baggage: frame.baggage,
    };
    const refusal = this.#refusal(frame, namespace);
    const middleware = this.access?.middlewareFor(frame.functionId, namespace);
    if (refusal !== undefined) {
      this.deliver(
        { ...request, callerInvocationId: action.type === 'void' ? undefined : invocationId, settle: undefined },
        refusal,
      );
    } else if (middleware !== undefined) {
      this.access?.callMiddleware(this, middleware, request, frame.data, action, (outcome) => {
        const callerInvocationId = action.type === 'void' ? undefined : invocationId;
        this.deliver({ ...request, callerInvocationId, settle: undefined }, outcome);
      });
    } else if (action.type === 'enqueue') {
      this.#core.router.enqueue(this, action.queue, request, frame.data, (outcome) => {
        const { functionId, traceparent, baggage } = request;
        this.deliver(
          { functionId, traceparent, baggage, callerInvocationId: invocationId, settle: undefined },
          outcome,
        );
        if (!outcome.ok && invocationId === undefined) {
          this.warn(this.#log, 'enqueue failed', {
            function: request.functionId,
            queue: action.queue,
            error: outcome.error.message,
          });
        }
      });
    } else {
      this.#core.router.call(
        this,
        request,
        frame.data,
        action.type === 'void' || invocationId === undefined ? UNANSWERED : new Answered(invocationId),
      );
    }
    if (this.#isBehind()) this.#pause();
  }

  #refusal(frame: InvokeFunctionFrame, namespace: string): Outcome | undefined {
    if (isBlank(namespace)) return { ok: false, error: blankNamespace('namespace').toBody(), cause: 'refused' };
    if (!this.#core.router.mayCall(this, frame.functionId, namespace)) {
      const error = notAllowed(this.#core.registry, this, frame.functionId, namespace);
      if (frame.action.type === 'void' || frame.invocationId === undefined)
        this.access?.noteRefusedCall(this, frame.functionId, error);
      return { ok: false, error, cause: 'refused' };
    }
    return undefined;
  }

  #result(frame: InvocationResultFrame): void {
    const call = this.#core.router.find(frame.invocationId);
    if (call === undefined) {
      // Late: its caller is gone or gave up.
      this.#core.router.answeredLate(
        frame.invocationId,
        this,
        frame.error === undefined
          ? { ok: true, result: frame.result }
          : { ok: false, error: frame.error, cause: 'handler' },
      );
      return;
    }
    if (call.executor !== this) {
      this.warn(this.#log, 'answer refused: the call belongs to another worker', { function: call.functionId });
      return;
    }
    if (frame.error !== undefined) this.#core.router.fail(call, frame.error, 'handler');
    else this.#core.router.complete(call, { ok: true, result: frame.result });
  }

  /** Holds back the frames behind this one until `done`. */
  #wait(done: Promise<unknown>): void {
    if (this.#backlog !== undefined) throw new Error('a frame was handled while another one waits');
    const backlog: WorkerFrame[] = [];
    this.#backlog = backlog;
    this.#transport.pauseReading();
    void done
      .catch((error: unknown) =>
        this.#log.error('a frame could not be handled', { worker: this.label, error: toErrorBody(error).message }),
      )
      .then(() => this.#resume(backlog));
  }

  #resume(backlog: WorkerFrame[]): void {
    this.#backlog = undefined;
    for (let i = 0; i < backlog.length; i++) {
      if (this.state === 'closed') return;
      this.#handle(backlog[i] as WorkerFrame);
      // The frame just handled may wait in turn: the rest lines up behind it.
      const next = this.#backlog as WorkerFrame[] | undefined;
      if (next !== undefined) {
        next.push(...backlog.slice(i + 1));
        return;
      }
    }
    if (!this.#paused) this.#transport.resumeReading();
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#transport.pauseReading();
  }

  #answerBad(frame: BadFrame): void {
    this.warn(this.#log, 'bad frame', { type: frame.frameType, error: frame.message });
    if (frame.invocationId === undefined) return;
    const error = {
      code: frame.code,
      message: `${frame.message} (in a frame of type ${frame.frameType ?? 'unknown'})`,
    };
    if (frame.frameType === 'invocationresult') {
      const call = this.#core.router.find(frame.invocationId);
      if (call !== undefined && call.executor === this) this.#core.router.fail(call, error, 'handler');
      return;
    }
    this.#send(encodeRefusal(frame.invocationId, frame.functionId ?? '', error));
  }

  #unknown(name: string): void {
    // A copy: a part of a string would keep its frame in memory.
    const type = Buffer.from(name.slice(0, MAX_SHOWN_TYPE_CHARS)).toString();
    this.#unknownTypes ??= new Set();
    if (this.#unknownTypes.size >= MAX_UNKNOWN_TYPES || this.#unknownTypes.has(type)) return;
    this.#unknownTypes.add(type);
    this.warn(this.#log, 'frame of an unknown type ignored', { type });
  }

  #tooLarge(text: string): boolean {
    return exceeds(text, this.#messageLimit);
  }

  #tooLargeError(what: string, bytes: number, answerOf?: string): ErrorBody {
    return messageTooLarge(what, bytes, this.label, this.#messageLimit, answerOf);
  }

  /** Too much waits for the client. One large message alone is no sign of a slow reader. */
  #isBehind(): boolean {
    return this.#transport.bufferedBytes - this.#largeUnsent > this.#limits.outboundSoftBytes;
  }

  /** Would one more large message be more than may wait? One that asked for several shall not lose its connection. */
  #wouldCut(length: number): boolean {
    const waiting = this.#transport.bufferedBytes + length - Math.max(this.#largeUnsent, length);
    return waiting > this.#limits.outboundHardBytes;
  }

  #send(text: string): void {
    if (text.length > LARGE_CHARS) this.#largeUnsent = Math.max(this.#largeUnsent, text.length);
    this.#transport.send(text);
    if (this.#transport.bufferedBytes - this.#largeUnsent > this.#limits.outboundHardBytes) {
      this.#transport.terminate(`it does not read: ${this.#transport.bufferedBytes} bytes wait`);
    }
  }
}

/** A message that is longer counts as large, in characters: many of them together are a slow reader all the same. */
const LARGE_CHARS = MIB;
/** Frame types remembered as unknown, so that each is logged once. */
const MAX_UNKNOWN_TYPES = 32;
/** What is remembered and shown of an unknown type, in characters. */
const MAX_SHOWN_TYPE_CHARS = 64;
/** Options of a call whose caller waits: only its id differs from one to the next. */
class Answered {
  declare readonly stampCaller: true;
  declare readonly settle: undefined;
  declare readonly timeoutMs: undefined;
  declare readonly replicas: false;
  readonly callerInvocationId: string;

  constructor(callerInvocationId: string) {
    this.callerInvocationId = callerInvocationId;
  }
}
Object.assign(Answered.prototype, { stampCaller: true, settle: undefined, timeoutMs: undefined, replicas: false });

const UNANSWERED = {
  callerInvocationId: undefined,
  stampCaller: true,
  settle: undefined,
  timeoutMs: undefined,
  replicas: false,
} as const;
