/**
 * Triggers and who provides their types.
 *
 * A trigger is `pending` (no provider of its type, or the provider gave it back), `active` (bound at
 * a provider) or `aside` (its provider keeps it out of service for now; told as refused, not listed). Every type keeps a stack of providers, newest first: a new one takes over all
 * bindings, and when it leaves they go back to the one before, or wait.
 *
 *   register -> active | pending | aside | refused
 *   pending -> active                           provider appears
 *   aside -> active                             its provider says so
 *   active -> active (moved) | pending          provider leaves
 *   any -> gone                                 unregister, or its worker disconnects
 *
 * A trigger belongs to the worker that registered its id; nobody else may change or remove it. Exactly the
 * same registered by another worker is a client that reconnects before its old connection is cleaned up:
 * both hold it, and it stays until the last of them lets go.
 *
 * What happens to one trigger id happens in order: an operation that waits for its provider holds back
 * the next one for the same id, whoever asks for it.
 */
import { DEFAULT_NAMESPACE, ErrorCode, toErrorBody, type ErrorBody, type Payload } from '@trine/protocol';
import { Emitter } from './emitter.js';
import type { Log, LogFields } from './log.js';
import type { Session } from './session.js';
import { workerForTriggerType } from './trigger-type-names.js';
import { KeptAsideError, type UnbindReason } from './worker-host.js';

export interface TriggerTypeProvider {
  readonly id: string;
  namespace: string;
  /** Set where the worker named the namespace itself; otherwise the type moves with its worker. */
  readonly ownNamespace?: boolean;
  readonly description: string;
  readonly session: Session;
  readonly configSchema: () => unknown;
  readonly requestSchema: () => unknown;
  readonly responseSchema: () => unknown;
  /** @param fresh - someone waits for this registration; otherwise it is told again and nobody must wait for an answer */
  bind(trigger: Trigger, fresh: boolean): void | Promise<void>;
  unbind(trigger: Trigger, reason: UnbindReason): void | Promise<void>;
}

export interface TriggerRequest {
  readonly id: string;
  readonly type: string;
  readonly functionId: string;
  /** Where target and condition functions are looked up. */
  readonly namespace: string;
  /** Set when the worker named the namespace of the trigger type itself. */
  readonly triggerNamespace: string | undefined;
  readonly config: Payload;
  readonly metadata: Payload | undefined;
  /** The registering worker; undefined for triggers that belong to nobody. */
  readonly owner: Session | undefined;
}

export interface Trigger extends TriggerRequest {
  /** Where the type is looked up first. */
  home: string;
  provider: TriggerTypeProvider | undefined;
  gone: boolean;
  aside: boolean;
  /** Other workers that registered the same and have not let go, oldest first. */
  others: readonly Session[];
}

export class Bindings {
  readonly #log: Log;
  readonly #providers = new Map<string, TriggerTypeProvider[]>();
  readonly #triggers = new Map<string, Trigger>();
  readonly #byType = new Map<string, Set<Trigger>>();
  /** By trigger id: settles when what was asked for it so far is done. Outlives the trigger. */
  readonly #tails = new Map<string, Promise<void>>();
  readonly #warned = new Set<string>();
  /** While set, triggers that have no provider are not warned of: it is about to come, or nobody waits for it. */
  quiet = false;
  /** How many triggers a worker has. */
  readonly #owned = new WeakMap<Session, number>();
  readonly changed = new Emitter<void>();

  constructor(log: Log) {
    this.#log = log.for('iii::triggers');
  }

  get(id: string): Trigger | undefined {
    const trigger = this.#triggers.get(id);
    return trigger?.aside === true ? undefined : trigger;
  }

  /** Triggers that are in service or wait for their type. */
  *triggers(): IterableIterator<Trigger> {
    for (const trigger of this.#triggers.values()) if (!trigger.aside) yield trigger;
  }

  /** The serving provider of every trigger type. */
  *types(): IterableIterator<TriggerTypeProvider> {
    for (const stack of this.#providers.values()) yield stack[0] as TriggerTypeProvider;
  }

  type(namespace: string, id: string): TriggerTypeProvider | undefined {
    return this.#providers.get(key(namespace, id))?.[0];
  }

  /** Offers a trigger type: it takes over the type's triggers and those that wait for it. */
  addProvider(provider: TriggerTypeProvider): Promise<void> {
    const typeKey = key(provider.namespace, provider.id);
    const stack = this.#providers.get(typeKey) ?? [];
    this.#providers.set(typeKey, stack);
    const own = stack.findIndex((other) => other.session === provider.session);
    const replaced = own >= 0 ? stack.splice(own, 1)[0] : undefined;
    stack.unshift(provider);
    this.#warned.delete(provider.id);
    this.changed.emit();
    return this.#rebind(provider.id, replaced);
  }

  /** The engine stops: triggers that lose their provider from here on wait for nobody. */
  close(): void {
    this.quiet = true;
  }

  /** Withdraws a trigger type: its triggers go to the provider before it, or wait. */
  removeProvider(provider: TriggerTypeProvider): Promise<void> {
    const typeKey = key(provider.namespace, provider.id);
    const stack = this.#providers.get(typeKey);
    const at = stack?.indexOf(provider) ?? -1;
    if (stack === undefined || at < 0) return Promise.resolve();
    stack.splice(at, 1);
    if (stack.length === 0) this.#providers.delete(typeKey);
    this.changed.emit();
    return this.#rebind(provider.id, undefined);
  }

  removeProviderOf(session: Session, namespace: string, id: string): Promise<void> {
    const provider = this.#providers.get(key(namespace, id))?.find((other) => other.session === session);
    return provider === undefined ? Promise.resolve() : this.removeProvider(provider);
  }

  /**
   * Registers a trigger; the same id again by the same worker replaces what it said before. Resolves when
   * it is bound or parked.
   *
   * @returns the error when its provider refused it (the trigger is gone then), or it is another worker's
   */
  async register(request: TriggerRequest): Promise<ErrorBody | undefined> {
    const { owner } = request;
    const before = this.#triggers.get(request.id);
    const error = this.#refusal(request, before);
    if (error !== undefined && owner !== undefined) {
      const fields = { trigger: request.id, function: request.functionId, error: error.message };
      owner.warn(this.#log, 'trigger refused', fields);
      owner.reportTriggerError(request, error);
    }
    if (error !== undefined) return error;
    const others = before !== undefined && isSame(before, request) ? holders(before) : [];
    return this.#put(
      request,
      before,
      others.filter((session) => session !== owner),
    );
  }

  #refusal(request: TriggerRequest, before: Trigger | undefined): ErrorBody | undefined {
    const { owner } = request;
    if (owner === undefined) return undefined;
    if (before === undefined || before.owner !== owner) {
      if ((this.#owned.get(owner) ?? 0) >= MAX_TRIGGERS_PER_WORKER) {
        const message = `a worker may register ${MAX_TRIGGERS_PER_WORKER} triggers: the rest is refused`;
        return { code: ErrorCode.tooManyRegistrations, message };
      }
      if (before === undefined) return undefined;
    }
    const holder = holders(before).find((session) => session !== owner && session.state !== 'closed');
    if (before.owner !== undefined && (holder === undefined || isSame(before, request))) return undefined;
    const whose = holder === undefined ? 'no worker' : `worker ${holder.label}`;
    const message = `trigger id '${before.id}' belongs to ${whose} and cannot be taken over: use another id`;
    return { code: ErrorCode.forbidden, message };
  }

  #put(
    request: TriggerRequest,
    before: Trigger | undefined,
    others: readonly Session[],
  ): Promise<ErrorBody | undefined> {
    const trigger: Trigger = {
      ...request,
      home: request.triggerNamespace ?? request.owner?.namespace ?? DEFAULT_NAMESPACE,
      provider: undefined,
      gone: false,
      aside: false,
      others,
    };
    let previous: TriggerTypeProvider | undefined;
    if (before !== undefined) {
      before.gone = true;
      previous = before.provider;
      this.#forget(before);
    }
    if (trigger.owner !== undefined) this.#owned.set(trigger.owner, (this.#owned.get(trigger.owner) ?? 0) + 1);
    this.#triggers.set(trigger.id, trigger);
    this.#ofType(trigger.type).add(trigger);
    this.changed.emit();
    return this.#inOrder(trigger.id, async () => {
      // A provider that binds a known id replaces it; any other one must let go first.
      if (before !== undefined && previous !== undefined && previous !== this.#find(trigger)) {
        await this.#unbind(before, previous, 'unregistered');
      }
      return this.#place(trigger, true);
    });
  }

  /**
   * Removes a trigger.
   *
   * @param session - who asks: a worker lets go of its own triggers only; undefined speaks for the owner
   * @returns false when there is no such trigger or it belongs to someone else
   */
  async unregister(id: string, session?: Session, reason: UnbindReason = 'unregistered'): Promise<boolean> {
    const trigger = this.#triggers.get(id);
    if (trigger === undefined) return false;
    if (session !== undefined && trigger.others.includes(session)) {
      trigger.others = trigger.others.filter((other) => other !== session);
      return true;
    }
    if (session !== undefined && trigger.owner !== session) {
      session.warn(this.#log, 'trigger not removed: it belongs to another worker', {
        trigger: id,
        function: trigger.functionId,
      });
      return false;
    }
    const others = trigger.others.filter(({ state }) => state !== 'closed');
    const next = others.pop();
    if (next !== undefined) {
      await this.#put({ ...trigger, owner: next }, trigger, others);
      return true;
    }
    trigger.gone = true;
    this.#forget(trigger);
    this.changed.emit();
    await this.#inOrder(trigger.id, async () => {
      const { provider } = trigger;
      trigger.provider = undefined;
      if (provider !== undefined) await this.#unbind(trigger, provider, reason);
    });
    return true;
  }

  /** A provider that is a worker of its own refused a trigger it was told of: the trigger waits. */
  refuse(session: Session, id: string, error: ErrorBody): void {
    const trigger = this.#triggers.get(id);
    if (trigger?.provider?.session !== session) return;
    trigger.provider = undefined;
    this.changed.emit();
    trigger.owner?.reportTriggerError(trigger, error);
  }

  /** A provider takes a trigger into service that it had put aside. */
  activate(session: Session, id: string): void {
    const trigger = this.#triggers.get(id);
    if (trigger?.provider?.session !== session) return;
    trigger.aside = false;
    this.changed.emit();
  }

  /** A session is gone: its triggers go, its trigger types are withdrawn. */
  async release(session: Session): Promise<void> {
    const own = [...this.#triggers.values()].filter((trigger) => holders(trigger).includes(session));
    const reason: UnbindReason = session.kind === 'engine' ? 'stopped' : 'disconnected';
    const provided = [...this.#providers.values()].flat().filter((provider) => provider.session === session);
    await Promise.all([
      ...own.map((trigger) => this.unregister(trigger.id, session, reason)),
      ...provided.map((provider) => this.removeProvider(provider)),
    ]);
  }

  /** A session has moved to another namespace: so do its trigger types and the home of its triggers. */
  async rehome(session: Session): Promise<void> {
    const { namespace } = session;
    const types = new Set<string>();
    for (const [typeKey, stack] of [...this.#providers]) {
      const at = stack.findIndex((provider) => provider.session === session && provider.ownNamespace !== true);
      const provider = stack[at];
      if (provider === undefined || provider.namespace === namespace) continue;
      stack.splice(at, 1);
      if (stack.length === 0) this.#providers.delete(typeKey);
      provider.namespace = namespace;
      const target = this.#providers.get(key(namespace, provider.id));
      if (target === undefined) this.#providers.set(key(namespace, provider.id), [provider]);
      else target.unshift(provider);
      types.add(provider.id);
    }
    for (const trigger of this.#triggers.values()) {
      if (trigger.owner !== session || trigger.triggerNamespace !== undefined || trigger.home === namespace) continue;
      trigger.home = namespace;
      types.add(trigger.type);
    }
    if (types.size === 0) return;
    this.changed.emit();
    await Promise.all([...types].map((type) => this.#rebind(type, undefined)));
  }

  async #rebind(type: string, replaced: TriggerTypeProvider | undefined): Promise<void> {
    const moves: Promise<unknown>[] = [];
    for (const trigger of this.#byType.get(type) ?? []) {
      moves.push(
        this.#inOrder(trigger.id, async () => {
          if (trigger.gone) return;
          const target = this.#find(trigger);
          const current = trigger.provider;
          if (target === current && replaced === undefined) return;
          if (current !== undefined && current !== target && current !== replaced)
            await this.#unbind(trigger, current, 'stopped');
          trigger.provider = undefined;
          await this.#place(trigger, false);
        }),
      );
    }
    await Promise.all(moves);
  }

  /** Binds at the provider that is right now, or parks. */
  async #place(trigger: Trigger, fresh: boolean): Promise<ErrorBody | undefined> {
    if (trigger.gone) return undefined;
    const provider = this.#find(trigger);
    if (provider === undefined) {
      this.#warnPending(trigger);
      this.changed.emit();
      return undefined;
    }
    trigger.provider = provider;
    trigger.aside = false;
    try {
      const bound = provider.bind(trigger, fresh);
      if (bound !== undefined) await bound;
      this.changed.emit();
      return undefined;
    } catch (thrown) {
      const error = { code: ErrorCode.triggerRegistrationFailed, message: toErrorBody(thrown).message };
      this.#warn(trigger, 'trigger refused', {
        trigger: trigger.id,
        type: trigger.type,
        function: trigger.functionId,
        error: error.message,
      });
      if (thrown instanceof KeptAsideError) {
        trigger.aside = true;
        trigger.owner?.reportTriggerError(trigger, error);
        return error;
      }
      trigger.provider = undefined;
      if (fresh && !trigger.gone) {
        trigger.gone = true;
        this.#forget(trigger);
      }
      this.changed.emit();
      trigger.owner?.reportTriggerError(trigger, error);
      return error;
    }
  }

  #find(trigger: Trigger): TriggerTypeProvider | undefined {
    const own = this.#providers.get(key(trigger.home, trigger.type))?.[0];
    if (own !== undefined || trigger.home === DEFAULT_NAMESPACE) return own;
    return this.#providers.get(key(DEFAULT_NAMESPACE, trigger.type))?.find(({ session }) => session.kind === 'engine');
  }

  async #unbind(trigger: Trigger, provider: TriggerTypeProvider, reason: UnbindReason): Promise<void> {
    try {
      await provider.unbind(trigger, reason);
    } catch (error) {
      this.#log.error('trigger not unbound', {
        trigger: trigger.id,
        type: trigger.type,
        error: toErrorBody(error).message,
      });
    }
  }

  #inOrder<T>(id: string, run: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(id);
    const result = before === undefined ? run() : before.then(run);
    const tail = result.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(id, tail);
    void tail.then(() => {
      if (this.#tails.get(id) === tail) this.#tails.delete(id);
    });
    return result;
  }

  #ofType(type: string): Set<Trigger> {
    let triggers = this.#byType.get(type);
    if (triggers === undefined) this.#byType.set(type, (triggers = new Set()));
    return triggers;
  }

  #forget(trigger: Trigger): void {
    if (this.#triggers.get(trigger.id) === trigger) {
      this.#triggers.delete(trigger.id);
      if (trigger.owner !== undefined) this.#owned.set(trigger.owner, (this.#owned.get(trigger.owner) ?? 1) - 1);
    }
    const triggers = this.#byType.get(trigger.type);
    triggers?.delete(trigger);
    if (triggers?.size === 0) this.#byType.delete(trigger.type);
  }

  #warnPending(trigger: Trigger): void {
    if (this.quiet || this.#warned.has(trigger.type)) return;
    for (const oldest of this.#warned) {
      if (this.#warned.size < MAX_WARNED_TYPES) break;
      this.#warned.delete(oldest);
    }
    this.#warned.add(trigger.type);
    const worker = workerForTriggerType(trigger.type);
    const fix =
      worker === undefined ? 'start the worker that provides this trigger type' : `run: iii worker add ${worker}`;
    this.#warn(
      trigger,
      `[PENDING] Trigger ${trigger.id} (function ${trigger.functionId}) was NOT activated: trigger type ${trigger.type} is not registered; ${fix}`,
      {},
    );
  }

  #warn({ owner }: Trigger, message: string, fields: LogFields): void {
    if (owner === undefined) this.#log.warn(message, fields);
    else owner.warn(this.#log, message, fields);
  }
}

function holders({ owner, others }: Trigger): readonly Session[] {
  return owner === undefined ? others : [...others, owner];
}

/** Does a registration say what a trigger says already? Clients send the same text when they reconnect. */
function isSame(trigger: TriggerRequest, request: TriggerRequest): boolean {
  return (
    trigger.type === request.type &&
    trigger.functionId === request.functionId &&
    trigger.namespace === request.namespace &&
    trigger.triggerNamespace === request.triggerNamespace &&
    trigger.config.json === request.config.json &&
    trigger.metadata?.json === request.metadata?.json
  );
}

/** Triggers that one worker may have. */
export const MAX_TRIGGERS_PER_WORKER = 10_000;
/** Unknown trigger types remembered, so that each is warned of once. */
const MAX_WARNED_TYPES = 256;

/** The error for a trigger of an unknown type, for those who ask instead of waiting. */
export function triggerTypeNotFound(type: string): ErrorBody {
  const worker = workerForTriggerType(type);
  const message =
    worker === undefined
      ? `Trigger type "${type}" not found. Start a worker that provides it.`
      : `Trigger type "${type}" not found — worker ${worker} is missing. Run: iii worker add ${worker}`;
  return { code: ErrorCode.triggerTypeNotFound, message };
}

function key(namespace: string, id: string): string {
  return `${namespace}\u0000${id}`;
}
