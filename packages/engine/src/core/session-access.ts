/**
 * Access rules as they bind one session: what it may register, under which id, and through which
 * hooks and middleware it goes. What it may call is decided in `access.ts`.
 *
 * Registrations come in by the ids that the worker knows and are stored under others where a prefix
 * or a hook says so; a function remembers the worker's own id (`knownAs`), triggers are kept here.
 */
import {
  DEFAULT_NAMESPACE,
  ErrorCode,
  Payload,
  type Action,
  type ErrorBody,
  type RegisterFunctionFrame,
  type RegisterTriggerFrame,
  type RegisterTriggerTypeFrame,
} from '@trine/protocol';
import { notAllowed } from './access.js';
import type { AccessHooks } from './access-hook.js';
import { guardFunctions, type AccessGrant, type AccessRules } from './access-rules.js';
import type { Core } from './core.js';
import { DenialLog } from './denial-log.js';
import { HookChange } from './hook-change.js';
import type { LogFields } from './log.js';
import type { CallRequest } from './pending-call.js';
import type { FunctionOwner } from './registry.js';
import { Renames } from './renames.js';
import { ENQUEUE_FUNCTION } from './router.js';
import type { Session } from './session.js';
import type { JsonValue, Outcome } from './worker-host.js';

/** May it be registered, and as what? */
export type Admission<Admitted> =
  { readonly ok: true; readonly admitted: Admitted } | { readonly ok: false; readonly error: ErrorBody };
type Awaitable<T> = T | Promise<T>;
/** @param told - what the session may know of the reason; default all of it */
type Denied = (reason: string, told?: string) => Admission<never>;

/** What a session is told when a hook kept it from registering: hooks are none of its business. */
const REFUSED = 'not allowed by the access rules of this listener';

export interface AdmittedFunction {
  readonly frame: RegisterFunctionFrame;
  /** The worker's own id, where the function is stored under another. */
  readonly knownAs: string | undefined;
}

/** A trigger before it is registered, by frame or by `engine::register_trigger`. */
export type TriggerAsked = Pick<
  RegisterTriggerFrame,
  'id' | 'triggerType' | 'functionId' | 'config' | 'metadata' | 'namespace'
>;

export class SessionAccess {
  readonly rules: AccessRules;
  readonly grant: AccessGrant;
  readonly #core: Core;
  readonly #hooks: AccessHooks;
  readonly #denials: DenialLog;
  /** Triggers and trigger types that a hook renamed. */
  readonly triggers = new Renames();
  readonly types = new Renames();

  constructor(core: Core, hooks: AccessHooks, rules: AccessRules, grant: AccessGrant) {
    this.#core = core;
    this.#hooks = hooks;
    this.rules = rules;
    this.grant = grant;
    this.#denials = new DenialLog(core.log, core.clock);
  }

  /** Why the session may not live in a namespace; undefined if it may. */
  namespaceRefusal(namespace: string): ErrorBody | undefined {
    const { authFunctionId } = this.rules;
    if (authFunctionId === undefined || namespace === DEFAULT_NAMESPACE || this.grant.namespaces.has(namespace))
      return undefined;
    const permitted = [...new Set([DEFAULT_NAMESPACE, ...this.grant.namespaces.keys()])].join(', ');
    return forbidden(`namespace '${namespace}' not allowed for this session (permitted: ${permitted})`);
  }

  /**
   * The session's registrations count in full from here on, in this namespace. What would take the
   * place of a worker outside these rules does not come along.
   */
  settle(session: Session, namespace: string): void {
    for (const owner of [...session.functions]) {
      const fault = this.#takesFunction(owner.id, namespace);
      if (fault === undefined) continue;
      this.#core.registry.remove(owner);
      this.#denied(session, { function: owner.id, reason: fault });
    }
    for (const type of [...this.#core.bindings.types()]) {
      if (type.session !== session || type.ownNamespace === true || type.namespace === namespace) continue;
      const fault = this.#takesType(type.id, namespace);
      if (fault === undefined) continue;
      void this.#core.bindings.removeProvider(type);
      this.#denied(session, { trigger_type: type.id, reason: fault });
    }
  }

  admitFunction(session: Session, frame: RegisterFunctionFrame): Awaitable<Admission<AdmittedFunction>> {
    const { onFunction } = this.rules;
    const denied: Denied = (reason) => this.#denied(session, { function: frame.id, reason });
    if (!this.grant.mayRegisterFunctions) return denied('this session may register no functions');
    if (this.rules.restricted && readsSecrets(frame.invocation))
      return denied('a function behind an HTTP address may not name secrets of the engine from here');
    const admit = (change: HookChange): Admission<AdmittedFunction> => {
      const id = this.#prefixed(change.text('function_id') ?? frame.id);
      const fault = change.fault ?? this.#reserved(id) ?? this.#takesWhenSettled(session, id);
      if (fault !== undefined) return denied(fault);
      for (const owner of session.functions)
        if (owner.id !== id && ownId(owner) === frame.id) this.#core.registry.remove(owner);
      const admitted = {
        ...frame,
        id,
        description: change.text('description') ?? frame.description,
        metadata: change.any('metadata') ?? frame.metadata,
      };
      return { ok: true, admitted: { frame: admitted, knownAs: id === frame.id ? undefined : frame.id } };
    };
    if (onFunction === undefined) return admit(HookChange.none);
    return this.#hook(session, onFunction, denied, admit, {
      function_id: frame.id,
      description: frame.description ?? null,
      metadata: (frame.metadata as JsonValue | undefined) ?? null,
      namespace: session.namespace,
    });
  }

  admitTriggerType(session: Session, frame: RegisterTriggerTypeFrame): Awaitable<Admission<RegisterTriggerTypeFrame>> {
    const { onTriggerType } = this.rules;
    const denied: Denied = (reason) => this.#denied(session, { trigger_type: frame.id, reason });
    if (!this.grant.mayRegisterTriggerTypes) return denied('this session may register no trigger types');
    const elsewhere = frame.namespace === undefined ? undefined : this.namespaceRefusal(frame.namespace);
    if (elsewhere !== undefined) return denied(elsewhere.message);
    const admit = (change: HookChange): Admission<RegisterTriggerTypeFrame> => {
      const id = change.text('trigger_type_id') ?? frame.id;
      const fault = change.fault ?? this.#takesType(id, frame.namespace ?? session.namespace);
      if (fault !== undefined) return denied(fault);
      this.types.set(frame.id, id);
      return { ok: true, admitted: { ...frame, id, description: change.text('description') ?? frame.description } };
    };
    if (onTriggerType === undefined) return admit(HookChange.none);
    return this.#hook(session, onTriggerType, denied, admit, {
      trigger_type_id: frame.id,
      description: frame.description,
    });
  }

  /**
   * Frames and `engine::register_trigger` alike: the latter would go around the rules otherwise.
   *
   * @param keepId - the trigger's id is the engine's own: a hook cannot change it
   */
  admitTrigger<Asked extends TriggerAsked>(
    session: Session,
    asked: Asked,
    { keepId }: { readonly keepId: boolean } = { keepId: false },
  ): Awaitable<Admission<Asked>> {
    const { onTrigger } = this.rules;
    const { triggerTypes } = this.grant;
    const denied: Denied = (reason, told) =>
      this.#denied(session, { trigger_type: asked.triggerType, function: asked.functionId, reason }, told);
    if (triggerTypes !== undefined && !triggerTypes.has(asked.triggerType))
      return denied(`Trigger type '${asked.triggerType}' is not allowed for this session.`);
    const admit = (change: HookChange): Admission<Asked> => {
      if (change.fault !== undefined) return denied(change.fault);
      const id = (keepId ? undefined : change.text('trigger_id')) ?? asked.id;
      const config = change.any('config');
      const admitted: Asked = {
        ...asked,
        id,
        triggerType: change.text('trigger_type') ?? asked.triggerType,
        functionId: this.#stored(session, change.text('function_id') ?? asked.functionId),
        config: config === undefined ? asked.config : Payload.fromValue(config),
      };
      const fault = this.#targets(session, admitted) ?? this.#takesTrigger(session, id);
      if (fault !== undefined) return denied(fault);
      this.triggers.set(asked.id, id);
      return { ok: true, admitted };
    };
    if (onTrigger === undefined) return admit(HookChange.none);
    return this.#hook(session, onTrigger, denied, admit, {
      trigger_id: asked.id,
      trigger_type: asked.triggerType,
      function_id: asked.functionId,
      config: asked.config.value as JsonValue,
      metadata: (asked.metadata?.value as JsonValue | undefined) ?? null,
      namespace: asked.namespace ?? DEFAULT_NAMESPACE,
    });
  }

  /** What is stored of a function that the worker calls by this id. */
  functionOf(session: Session, id: string): FunctionOwner | undefined {
    for (const owner of session.functions) if (ownId(owner) === id) return owner;
    return undefined;
  }

  /** Which middleware answers a call in the place of its function? What the engine itself serves has none. */
  middlewareFor(functionId: string, namespace: string): string | undefined {
    const { middleware } = this.rules;
    if (middleware === undefined || !functionId.startsWith('engine::')) return middleware;
    // Enqueueing carries the call of another function, so it does not go around.
    const isEngines = this.#core.registry.resolve(namespace, functionId)?.session.kind === 'engine';
    return isEngines && functionId !== ENQUEUE_FUNCTION ? undefined : middleware;
  }

  /** Hands a call to the middleware, which makes it (or not); its answer is the caller's. */
  callMiddleware(
    session: Session,
    middleware: string,
    request: CallRequest,
    payload: Payload,
    action: Action,
    settle: (outcome: Outcome) => void,
  ): void {
    if (this.#hooks.isServedBy(middleware, session)) {
      const message = `function '${request.functionId}' not called: its middleware ${middleware} is served by this same connection, so the call would come back for ever. Serve it from a listener without middleware`;
      settle({ ok: false, error: forbidden(message), cause: 'refused' });
      return;
    }
    const input = Payload.fromMembers({
      function_id: JSON.stringify(request.functionId),
      payload: payload.json,
      action: action.type === 'call' ? 'null' : JSON.stringify(action),
      context: JSON.stringify(this.grant.context),
      namespace: JSON.stringify(request.namespace),
    });
    this.#core.router.call(
      session,
      { ...request, functionId: middleware, namespace: DEFAULT_NAMESPACE },
      Payload.fromJson(input.json),
      {
        callerInvocationId: undefined,
        stampCaller: false,
        timeoutMs: this.rules.middlewareTimeoutMs,
        replicas: false,
        settle: (outcome) => settle(missing(outcome, middleware, request.functionId)),
      },
    );
  }

  /** Notes a refused call that nobody waits for. */
  noteRefusedCall(session: Session, functionId: string, error: ErrorBody): void {
    this.#denials.add(session, { call: functionId, listener: this.rules.who, reason: error.message });
  }

  async #hook<Admitted>(
    session: Session,
    functionId: string,
    denied: Denied,
    admit: (change: HookChange) => Admission<Admitted>,
    input: { readonly [key: string]: JsonValue },
  ): Promise<Admission<Admitted>> {
    const { timeoutMs } = this.rules;
    const answer = await this.#hooks.ask(functionId, { ...input, context: this.grant.context }, timeoutMs, session);
    if (!answer.ok) return denied(`the hook gave no leave: ${answer.fault}`, REFUSED);
    const { value } = answer;
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return denied(`the hook ${functionId} said no`, REFUSED);
    return admit(new HookChange(value as Record<string, unknown>));
  }

  #denied(session: Session, fields: LogFields & { readonly reason: string }, told = fields.reason): Admission<never> {
    this.#denials.add(session, { ...fields, listener: this.rules.who });
    return { ok: false, error: forbidden(told) };
  }

  #prefixed(id: string): string {
    const { prefix } = this.grant;
    return prefix === undefined ? id : `${prefix}::${id}`;
  }

  /** A trigger names its function by the worker's own id. */
  #stored(session: Session, id: string): string {
    return this.functionOf(session, id)?.id ?? this.#prefixed(id);
  }

  /** Why nobody behind these rules may serve an id. */
  #reserved(id: string): string | undefined {
    if (!this.rules.restricted) return undefined;
    if (id.startsWith('engine::')) return `function '${id}' is reserved for the engine`;
    for (const rules of this.#core.accessRules)
      if (guardFunctions(rules).includes(id))
        return `function '${id}' decides over access: serve it from a listener without access rules`;
    return undefined;
  }

  /** A session that has not said its namespace yet takes nobody's place: what it offers is looked at by `settle`. */
  #takesWhenSettled(session: Session, id: string): string | undefined {
    return session.provisional ? undefined : this.#takesFunction(id, session.namespace);
  }

  /** Who calls an id that somebody outside these rules serves trusts that one, not this session. */
  #takesFunction(id: string, namespace: string): string | undefined {
    if (!this.rules.restricted) return undefined;
    const foreign = this.#core.registry.owners(namespace, id).some((owner) => !this.#isPeer(owner.session));
    return foreign ? `function '${id}' is served by a worker outside these access rules` : undefined;
  }

  #takesType(id: string, namespace: string): string | undefined {
    if (!this.rules.restricted) return undefined;
    if (id.startsWith('engine::')) return `trigger type '${id}' is reserved for the engine`;
    const provider = this.#core.bindings.type(namespace, id) ?? this.#core.bindings.type(DEFAULT_NAMESPACE, id);
    return provider === undefined || this.#isPeer(provider.session)
      ? undefined
      : `trigger type '${id}' is provided by a worker outside these access rules`;
  }

  #takesTrigger(session: Session, id: string): string | undefined {
    const trigger = this.#core.bindings.get(id);
    if (!this.rules.restricted || trigger === undefined || trigger.owner === session) return undefined;
    return trigger.owner !== undefined && this.#isPeer(trigger.owner)
      ? undefined
      : `trigger '${id}' belongs to a worker outside these access rules`;
  }

  /** The functions that a trigger will call: its target, and those that its config names (conditions, middleware). */
  #targets(session: Session, { functionId, namespace = DEFAULT_NAMESPACE, config }: TriggerAsked): string | undefined {
    for (const id of [functionId, ...functionsIn(config)]) {
      if (!this.#core.router.mayCall(session, id, namespace)) {
        const { message } = notAllowed(this.#core.registry, session, id, namespace);
        return message.replace(' not allowed', ` not allowed in namespace '${namespace}'`);
      }
    }
    return undefined;
  }

  #isPeer(other: Session): boolean {
    return other.access?.rules === this.rules;
  }
}

function ownId(owner: FunctionOwner): string {
  return owner.knownAs ?? owner.id;
}

/** `condition_function_id`, `middleware_function_ids`, ...: whatever its provider will call. */
function functionsIn(config: Payload): string[] {
  const { value } = config;
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value)
    .filter(([key]) => /function_ids?$/.test(key))
    .flatMap(([, named]: [string, unknown]) => (Array.isArray(named) ? (named as unknown[]) : [named]))
    .filter((named) => typeof named === 'string');
}

/** Credentials of an HTTP-invoked function are names of variables in the engine's environment. */
function readsSecrets(invocation: unknown): boolean {
  const auth: unknown = (invocation as { auth?: unknown } | null | undefined)?.auth;
  return auth !== undefined && auth !== null;
}

function forbidden(message: string): ErrorBody {
  return { code: ErrorCode.forbidden, message };
}

/** Nobody but the operator can do something about a middleware that is not there. */
function missing(outcome: Outcome, middleware: string, functionId: string): Outcome {
  if (outcome.ok || outcome.cause !== 'not_found') return outcome;
  const message = `function '${functionId}' not called: its middleware ${middleware} is not registered`;
  return { ...outcome, error: { ...outcome.error, message } };
}
