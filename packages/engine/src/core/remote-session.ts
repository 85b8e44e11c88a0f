/**
 * A session on a socket: turns frames into calls on the core and back.
 *
 * Frames of one connection are handled strictly in order: one that has to wait (a trigger whose
 * provider commits something first) holds back those behind it.
 */
import {
  decodeFrame,
  DEFAULT_NAMESPACE,
  encodeInvoke,
  encodeRefusal,
  encodeRegisterTrigger,
  encodeResult,
  encodeTriggerRegistrationResult,
  encodeUnregisterTrigger,
  encodeWorkerRegistered,
  ErrorCode,
  PONG_FRAME,
  toErrorBody,
  TrineError,
  type BadFrame,
  type ErrorBody,
  type InvocationResultFrame,
  type InvokeFunctionFrame,
  type RegisterFunctionFrame,
  type RegisterTriggerFrame,
  type RegisterTriggerTypeFrame,
  type WorkerFrame,
} from '@trine/protocol';
import type { Trigger } from './bindings.js';
import type { Core } from './core.js';
import type { Log } from './log.js';
import type { PendingCall, Waiter } from './pending-call.js';
import { Session } from './session.js';
import type { Outcome } from './worker-host.js';

/** The socket under a session. */
export interface Transport {
  send(text: string): void;
  /** Bytes accepted by `send` that the peer has not taken yet. */
  readonly bufferedBytes: number;
  pauseReading(): void;
  resumeReading(): void;
  /** Ends the socket now, without a Close frame. */
  terminate(reason: string): void;
}

export interface SessionLimits {
  /** Above this many unsent bytes a session gets no new calls, and is not read from. Default 16 MiB. */
  readonly outboundSoftBytes: number;
  /** Above this many unsent bytes a session is cut off. Default 128 MiB. */
  readonly outboundHardBytes: number;
}

const MIB = 1024 * 1024;
export const defaultSessionLimits: SessionLimits = { outboundSoftBytes: 16 * MIB, outboundHardBytes: 128 * MIB };

/** Largest message to a client, in bytes: what the common clients accept. */
export const MAX_MESSAGE_BYTES = 64 * MIB;
/** Largest message to a Python client before 0.24.5: above it the client closes with 1009 and loops. */
export const OLD_PYTHON_MESSAGE_BYTES = MIB;

export class RemoteSession extends Session {
  readonly #core: Core;
  readonly #transport: Transport;
  readonly #log: Log;
  readonly #limits: SessionLimits;
  readonly #isPythonSocket: boolean;
  #backlog: WorkerFrame[] | undefined;
  #paused = false;
  #unknownTypes: Set<string> | undefined;

  constructor(
    core: Core,
    transport: Transport,
    options: { address?: string | undefined; userAgent?: string | undefined; limits?: Partial<SessionLimits> },
  ) {
    super(core.random.uuid(), 'remote', core.clock.now(), options.address);
    this.#core = core;
    this.#transport = transport;
    this.#log = core.log.for('iii::worker_connections');
    this.#limits = { ...defaultSessionLimits, ...options.limits };
    this.#isPythonSocket = options.userAgent?.toLowerCase().includes('websockets') ?? false;
    core.open(this);
    this.#log.info('Worker registered', { worker_id: this.id, ip_address: options.address });
    this.#send(encodeWorkerRegistered(this.id, core.random.uuid()));
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

  /** The socket is gone. */
  closed(): Promise<void> {
    this.#log.info('Worker unregistered', {
      worker_id: this.id,
      name: this.info.name,
      ip_address: this.address,
      pid: this.info.pid,
    });
    return this.#core.close(this);
  }

  /** The socket took what was buffered. */
  drained(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#backlog === undefined) this.#transport.resumeReading();
  }

  execute(call: PendingCall): void {
    if (this.#transport.bufferedBytes > this.#limits.outboundSoftBytes) {
      const message = `worker ${this.label} does not read fast enough (${this.#transport.bufferedBytes} bytes wait): ${call.functionId} was not delivered`;
      this.#core.router.fail(call, { code: ErrorCode.channelSendFailed, message }, 'refused');
      return;
    }
    const text = encodeInvoke(
      call.id,
      call.functionId,
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
    this.#send(text);
  }

  deliver(waiter: Waiter, outcome: Outcome): void {
    if (waiter.settle !== undefined) {
      waiter.settle(outcome);
      return;
    }
    if (waiter.callerInvocationId === undefined || this.state === 'closed') return;
    const { callerInvocationId, functionId, traceparent, baggage } = waiter;
    let text = encodeResult(
      callerInvocationId,
      functionId,
      outcome.ok ? outcome.result?.json : undefined,
      outcome.ok ? undefined : outcome.error,
      traceparent,
      baggage,
    );
    if (this.#tooLarge(text)) {
      const narrower = /^engine::.*::list$/.test(functionId) ? ', or ask for less with `search` or `prefix`' : '';
      const error = this.#tooLargeError(`the answer of ${functionId}`, text.length, narrower);
      text = encodeResult(callerInvocationId, functionId, undefined, error, traceparent, baggage);
    }
    this.#send(text);
  }

  reportTriggerError(
    trigger: { readonly id: string; readonly type: string; readonly functionId: string },
    error: ErrorBody,
  ): void {
    if (this.state === 'open')
      this.#send(encodeTriggerRegistrationResult(trigger.id, trigger.type, trigger.functionId, error));
  }

  #handle(frame: WorkerFrame): void {
    switch (frame.type) {
      case 'invokefunction':
        return this.#invoke(frame);
      case 'invocationresult':
        return this.#result(frame);
      case 'registerfunction':
        return this.#registerFunction(frame);
      case 'unregisterfunction':
        this.#log.info(`[UNREGISTERED] Function ${frame.id}`, { worker: this.info.name });
        return this.#core.registry.removeFrom(this, this.namespace, frame.id);
      case 'registertriggertype':
        return this.#registerTriggerType(frame);
      case 'unregistertriggertype':
        return this.#wait(this.#core.bindings.removeProviderOf(this, frame.namespace ?? this.namespace, frame.id));
      case 'registertrigger':
        return this.#registerTrigger(frame);
      case 'unregistertrigger':
        return this.#wait(this.#core.bindings.unregister(frame.id, this));
      case 'triggerregistrationresult':
        if (frame.error === undefined) this.#core.bindings.confirm(this, frame.id);
        else this.#core.bindings.refuse(this, frame.id, frame.error);
        return;
      case 'ping':
        return this.#send(PONG_FRAME);
      case 'reattach':
        this.#log.debug('reattach ignored: calls of a dropped connection have ended', { worker_id: this.id });
        return;
      case 'ignored':
        return;
      case 'unknown':
        return this.#unknown(frame.name);
    }
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
    if (refusal !== undefined) {
      this.deliver(
        { ...request, callerInvocationId: action.type === 'void' ? undefined : invocationId, settle: undefined },
        refusal,
      );
    } else if (action.type === 'enqueue') {
      this.#core.router.enqueue(this, action.queue, request, frame.data, (outcome) => {
        this.deliver({ ...request, callerInvocationId: invocationId, settle: undefined }, outcome);
        if (!outcome.ok && invocationId === undefined) {
          this.#log.warn('enqueue failed', {
            function: request.functionId,
            queue: action.queue,
            worker: this.label,
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
    if (this.#transport.bufferedBytes > this.#limits.outboundSoftBytes) this.#pause();
  }

  #refusal(frame: InvokeFunctionFrame, namespace: string): Outcome | undefined {
    if (namespace === '') {
      const message = '`namespace` is empty: it was named and left blank. Give it a name, or omit it to use `default`.';
      return { ok: false, error: { code: ErrorCode.invalidNamespace, message }, cause: 'refused' };
    }
    if (!this.#core.router.mayCall(this, frame.functionId, namespace)) {
      return {
        ok: false,
        error: { code: ErrorCode.forbidden, message: `function '${frame.functionId}' not allowed` },
        cause: 'refused',
      };
    }
    return undefined;
  }

  #result(frame: InvocationResultFrame): void {
    const call = this.#core.router.find(frame.invocationId);
    if (call === undefined) return; // late: its caller is gone or gave up
    if (call.owner.session !== this) {
      this.#log.warn('answer refused: the call belongs to another worker', {
        worker: this.label,
        function: call.functionId,
      });
      return;
    }
    if (frame.error !== undefined) this.#core.router.fail(call, frame.error, 'handler');
    else this.#core.router.complete(call, { ok: true, result: frame.result });
  }

  #registerFunction(frame: RegisterFunctionFrame): void {
    if (frame.invocation !== undefined) {
      this.#log.warn('function refused: functions behind an HTTP address are not supported in this version', {
        function: frame.id,
        worker: this.label,
      });
      return;
    }
    try {
      this.#core.registry.add({
        id: frame.id,
        namespace: this.namespace,
        session: this,
        description: frame.description,
        requestFormat: () => frame.requestFormat,
        responseFormat: () => frame.responseFormat,
        metadata: frame.metadata,
        run: undefined,
      });
      this.#core.log.for('iii::function').info(`[REGISTERED] Function ${frame.id}`, { worker: this.info.name });
    } catch (error) {
      this.#log.warn('function refused', { function: frame.id, worker: this.label, error: toErrorBody(error).message });
    }
  }

  #registerTriggerType(frame: RegisterTriggerTypeFrame): void {
    this.#log.info(`[REGISTERED] Trigger Type ${frame.id}`, { worker: this.info.name });
    this.#wait(
      this.#core.bindings.addProvider({
        id: frame.id,
        namespace: frame.namespace ?? this.namespace,
        description: frame.description,
        session: this,
        configSchema: () => frame.triggerRequestFormat,
        requestSchema: () => frame.callRequestFormat,
        responseSchema: () => undefined,
        bind: (trigger) => this.#tellBind(trigger),
        unbind: (trigger) => {
          if (this.state === 'open') this.#send(encodeUnregisterTrigger(trigger.id, trigger.type));
        },
      }),
    );
  }

  #tellBind(trigger: Trigger): void {
    const text = encodeRegisterTrigger({
      id: trigger.id,
      triggerType: trigger.type,
      functionId: trigger.functionId,
      configJson: trigger.config.json,
      metadataJson: trigger.metadata?.json,
      namespace: trigger.namespace,
      triggerNamespace: trigger.triggerNamespace ?? DEFAULT_NAMESPACE,
    });
    if (this.#tooLarge(text)) {
      const { code, message } = this.#tooLargeError(`the trigger ${trigger.id}`, text.length);
      throw new TrineError(code, message);
    }
    this.#send(text);
  }

  #registerTrigger(frame: RegisterTriggerFrame): void {
    if (frame.namespace === '' || frame.triggerNamespace === '') {
      const field = frame.namespace === '' ? 'namespace' : 'trigger_namespace';
      const message = `\`${field}\` is empty: it was named and left blank. Give it a name, or omit it to use \`default\`.`;
      this.reportTriggerError(
        { id: frame.id, type: frame.triggerType, functionId: frame.functionId },
        { code: ErrorCode.invalidNamespace, message },
      );
      return;
    }
    this.#wait(
      this.#core.bindings.register({
        id: frame.id,
        type: frame.triggerType,
        functionId: frame.functionId,
        namespace: frame.namespace ?? DEFAULT_NAMESPACE,
        triggerNamespace: frame.triggerNamespace,
        config: frame.config,
        metadata: frame.metadata,
        owner: this,
      }),
    );
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
    this.#log.warn('bad frame', { worker: this.label, type: frame.frameType, error: frame.message });
    if (frame.invocationId === undefined) return;
    const error = {
      code: frame.code,
      message: `${frame.message} (in a frame of type ${frame.frameType ?? 'unknown'})`,
    };
    if (frame.frameType === 'invocationresult') {
      const call = this.#core.router.find(frame.invocationId);
      if (call !== undefined && call.owner.session === this) this.#core.router.fail(call, error, 'handler');
      return;
    }
    this.#send(encodeRefusal(frame.invocationId, frame.functionId ?? '', error));
  }

  #unknown(type: string): void {
    this.#unknownTypes ??= new Set();
    if (this.#unknownTypes.size >= MAX_UNKNOWN_TYPES || this.#unknownTypes.has(type)) return;
    this.#unknownTypes.add(type);
    this.#log.warn('frame of an unknown type ignored', { worker: this.label, type });
  }

  #tooLarge(text: string): boolean {
    // A UTF-16 unit is at most three bytes of UTF-8: only near the limit is the exact size worth knowing.
    const limit = this.#messageLimit;
    return text.length > limit / 3 && (text.length > limit || Buffer.byteLength(text) > limit);
  }

  get #messageLimit(): number {
    const { runtime, version } = this.info;
    if (runtime === undefined) return this.#isPythonSocket ? OLD_PYTHON_MESSAGE_BYTES : MAX_MESSAGE_BYTES;
    return runtime === 'python' && isBefore(version, 0, 24, 5) ? OLD_PYTHON_MESSAGE_BYTES : MAX_MESSAGE_BYTES;
  }

  #tooLargeError(what: string, bytes: number, otherwise = ''): ErrorBody {
    const limit = this.#messageLimit;
    const fix =
      limit === OLD_PYTHON_MESSAGE_BYTES ? 'upgrade its iii-sdk to 0.24.5 or later, or send less' : 'send less';
    return {
      code: ErrorCode.payloadTooLarge,
      message: `${what} is a message of about ${bytes} bytes; worker ${this.label} accepts ${limit} bytes: ${fix}${otherwise}`,
    };
  }

  #send(text: string): void {
    this.#transport.send(text);
    if (this.#transport.bufferedBytes > this.#limits.outboundHardBytes) {
      this.#transport.terminate(`it does not read: ${this.#transport.bufferedBytes} bytes wait`);
    }
  }
}

/** Frame types remembered as unknown, so that each is logged once. */
const MAX_UNKNOWN_TYPES = 32;

class Answered {
  readonly stampCaller = true;
  readonly settle = undefined;
  readonly timeoutMs = undefined;
  readonly replicas = false;
  readonly callerInvocationId: string;

  constructor(callerInvocationId: string) {
    this.callerInvocationId = callerInvocationId;
  }
}

const UNANSWERED = {
  callerInvocationId: undefined,
  stampCaller: true,
  settle: undefined,
  timeoutMs: undefined,
  replicas: false,
} as const;

/** Is a version below the given one? A version that cannot be read counts as old. */
function isBefore(version: string | undefined, major: number, minor: number, patch: number): boolean {
  const match = /^(\d+)\.(\d+)\.(\d+)/.exec(version ?? '');
  if (match === null) return true;
  const [a, b, c] = [Number(match[1]), Number(match[2]), Number(match[3])];
  return a !== major ? a < major : b !== minor ? b < minor : c < patch;
}
