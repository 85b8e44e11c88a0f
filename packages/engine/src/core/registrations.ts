/**
 * What the worker on a socket registers and takes back: functions, trigger types and triggers, through the
 * access rules of its listener where there are some; and what it is told of the triggers of its types.
 */
import {
  blankNamespace,
  DEFAULT_NAMESPACE,
  encodeRegisterTrigger,
  encodeUnregisterTrigger,
  ErrorCode,
  isBlank,
  toErrorBody,
  TrineError,
  type ErrorBody,
  type RegisterFunctionFrame,
  type RegisterTriggerFrame,
  type RegisterTriggerTypeFrame,
} from '@trine/protocol';
import { BindAnswers } from './bind-answers.js';
import type { Trigger } from './bindings.js';
import type { Core } from './core.js';
import type { Log } from './log.js';
import type { Session } from './session.js';
import type { Admission } from './session-access.js';

/** Functions that one worker may offer. */
export const MAX_FUNCTIONS = 10_000;
/** Trigger types that one worker may provide. */
export const MAX_TRIGGER_TYPES = 1_000;

/** What registrations need of the socket that they come from. */
export interface RegistrationSocket {
  send(text: string): void;
  /** Why a message cannot go to the client; undefined if it can. */
  tooLarge(text: string, what: string): ErrorBody | undefined;
  /** Logs what the worker registers. */
  tell(log: Log, message: string): void;
  /** Holds back the frames behind the one that is handled. */
  wait(done: Promise<unknown>): void;
}

export class Registrations {
  readonly #core: Core;
  readonly #session: Session;
  readonly #socket: RegistrationSocket;
  readonly #log: Log;
  readonly #triggerTypes = new Set<string>();
  /** Who waits for this provider's answer about a trigger. */
  readonly #bindAnswers: BindAnswers;

  constructor(core: Core, session: Session, socket: RegistrationSocket) {
    this.#core = core;
    this.#session = session;
    this.#socket = socket;
    this.#log = core.log.for('iii::worker_connections');
    this.#bindAnswers = new BindAnswers(core.clock);
  }

  /** The socket is gone: nobody waits for its answers. */
  stop(): void {
    this.#bindAnswers.stop();
  }

  /** The worker's answer about a trigger of a type that it provides. */
  answered(triggerId: string, error: ErrorBody | undefined): void {
    if (this.#bindAnswers.answered(triggerId, error)) return;
    if (error !== undefined) this.#core.bindings.refuse(this.#session, triggerId, error);
  }

  addFunction(frame: RegisterFunctionFrame): void {
    if (this.#session.access === undefined) return this.#registerFunction(frame);
    this.#admit(this.#session.access.admitFunction(this.#session, frame), (admitted) =>
      this.#registerFunction(admitted.frame, admitted.knownAs),
    );
  }

  #registerFunction(frame: RegisterFunctionFrame, knownAs?: string): void {
    try {
      if (this.#session.functions.size >= MAX_FUNCTIONS && !this.#offers(frame.id))
        throw tooMany('functions', MAX_FUNCTIONS);
      const run = frame.invocation === undefined ? undefined : this.#core.httpFunctions.register(frame, this.#session);
      this.#core.registry.add({
        id: frame.id,
        namespace: this.#session.namespace,
        session: this.#session,
        description: frame.description,
        requestFormat: () => frame.requestFormat,
        responseFormat: () => frame.responseFormat,
        metadata: frame.metadata,
        knownAs,
        run,
      });
      this.#socket.tell(this.#core.log.for('iii::function'), `[REGISTERED] Function ${frame.id}`);
    } catch (error) {
      this.#session.warn(this.#log, 'function refused', { function: frame.id, error: toErrorBody(error).message });
    }
  }

  #offers(id: string): boolean {
    const owners = this.#core.registry.owners(this.#session.namespace, id);
    return owners.some(({ session }) => session === this.#session);
  }

  removeFunction(id: string): void {
    this.#socket.tell(this.#log, `[UNREGISTERED] Function ${id}`);
    const owner = this.#session.access?.functionOf(this.#session, id);
    if (owner !== undefined) this.#core.registry.remove(owner);
    else this.#core.registry.removeFrom(this.#session, this.#session.namespace, id);
  }

  addTriggerType(frame: RegisterTriggerTypeFrame): void {
    if (this.#session.access === undefined) return this.#socket.wait(this.#registerTriggerType(frame));
    this.#admit(this.#session.access.admitTriggerType(this.#session, frame), (admitted) =>
      this.#registerTriggerType(admitted),
    );
  }

  async #registerTriggerType(frame: RegisterTriggerTypeFrame): Promise<void> {
    if (this.#triggerTypes.size >= MAX_TRIGGER_TYPES && !this.#triggerTypes.has(frame.id)) {
      const error = tooMany('trigger types', MAX_TRIGGER_TYPES).message;
      this.#session.warn(this.#log, 'trigger type refused', { type: frame.id, error });
      return;
    }
    if (isBlank(frame.namespace)) {
      const error = blankNamespace('namespace').message;
      this.#session.warn(this.#log, 'trigger type refused', { type: frame.id, error });
      return;
    }
    if (frame.id.startsWith('engine::') && this.#core.bindings.type(DEFAULT_NAMESPACE, frame.id) !== undefined) {
      const error = `trigger type '${frame.id}' belongs to the engine and cannot be taken over`;
      this.#session.warn(this.#log, 'trigger type refused', { type: frame.id, error });
      return;
    }
    this.#triggerTypes.add(frame.id);
    this.#socket.tell(this.#log, `[REGISTERED] Trigger Type ${frame.id}`);
    await this.#core.bindings.addProvider({
      id: frame.id,
      namespace: frame.namespace ?? this.#session.namespace,
      ownNamespace: frame.namespace !== undefined,
      description: frame.description,
      session: this.#session,
      configSchema: () => frame.triggerRequestFormat,
      requestSchema: () => frame.callRequestFormat,
      responseSchema: () => undefined,
      bind: (trigger, fresh) => this.#tellBind(trigger, fresh),
      unbind: (trigger) => {
        if (this.#session.state === 'open')
          this.#socket.send(encodeUnregisterTrigger(trigger.id, this.#ownType(trigger.type)));
      },
    });
  }

  removeTriggerType(id: string, namespace = this.#session.namespace): void {
    const stored = this.#session.access?.types.stored(id) ?? id;
    this.#triggerTypes.delete(stored);
    this.#session.access?.types.delete(id);
    this.#socket.wait(this.#core.bindings.removeProviderOf(this.#session, namespace, stored));
  }

  /** A trigger type by the name that this worker gave it. */
  #ownType(type: string): string {
    return this.#session.access?.types.own(type) ?? type;
  }

  #tellBind(trigger: Trigger, fresh: boolean): void | Promise<void> {
    // One that is away is told of all its triggers when it offers their type again.
    if (this.#session.state !== 'open') return;
    const text = encodeRegisterTrigger({
      id: trigger.id,
      triggerType: this.#ownType(trigger.type),
      functionId: trigger.functionId,
      configJson: trigger.config.json,
      metadataJson: trigger.metadata?.json,
      namespace: trigger.namespace,
      triggerNamespace: trigger.provider?.namespace ?? DEFAULT_NAMESPACE,
    });
    const fault = this.#socket.tooLarge(text, `trigger ${trigger.id}`);
    if (fault !== undefined) throw new TrineError(fault.code, fault.message);
    this.#socket.send(text);
    // The registering worker hears of a refusal by a frame; where there is none, its caller waits for the answer.
    return trigger.owner === undefined && fresh ? this.#bindAnswers.wait(trigger.id) : undefined;
  }

  addTrigger(frame: RegisterTriggerFrame): void {
    if (isBlank(frame.namespace) || isBlank(frame.triggerNamespace)) {
      const field = isBlank(frame.namespace) ? 'namespace' : 'trigger_namespace';
      this.#session.reportTriggerError(
        { id: frame.id, type: frame.triggerType, functionId: frame.functionId },
        blankNamespace(field).toBody(),
      );
      return;
    }
    if (this.#session.access === undefined) return this.#socket.wait(this.#registerTrigger(frame));
    this.#admit(
      this.#session.access.admitTrigger(this.#session, frame),
      (admitted) => this.#registerTrigger(admitted),
      (error) =>
        this.#session.reportTriggerError(
          { id: frame.id, type: frame.triggerType, functionId: frame.functionId },
          error,
        ),
    );
  }

  #registerTrigger(frame: RegisterTriggerFrame): Promise<unknown> {
    return this.#core.bindings.register({
      id: frame.id,
      type: frame.triggerType,
      functionId: frame.functionId,
      namespace: frame.namespace ?? DEFAULT_NAMESPACE,
      triggerNamespace: frame.triggerNamespace,
      config: frame.config,
      metadata: frame.metadata,
      owner: this.#session,
    });
  }

  removeTrigger(id: string): void {
    const stored = this.#session.access?.triggers.stored(id) ?? id;
    this.#session.access?.triggers.delete(id);
    this.#socket.wait(this.#core.bindings.unregister(stored, this.#session));
  }

  /** Registers what the access rules admit. Where a hook has to be asked, the frames behind wait for it. */
  #admit<Admitted>(
    admission: Admission<Admitted> | Promise<Admission<Admitted>>,
    register: (admitted: Admitted) => Promise<unknown> | void,
    refused?: (error: ErrorBody) => void,
  ): void {
    const act = (answer: Admission<Admitted>): Promise<unknown> | void => {
      if (this.#session.state === 'closed') return;
      return answer.ok ? register(answer.admitted) : refused?.(answer.error);
    };
    if (admission instanceof Promise) return this.#socket.wait(admission.then(act));
    const done = act(admission);
    if (done !== undefined) this.#socket.wait(done);
  }
}

function tooMany(what: string, limit: number): TrineError {
  return new TrineError(ErrorCode.tooManyRegistrations, `a worker may register ${limit} ${what}: the rest is refused`);
}
