/**
 * Triggers that belong to no worker (`engine::register_trigger`): kept on disk, bound again at each
 * start. The same one again is the one that is there: a worker may register it at each of its starts.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Payload, TrineError } from '@trine/protocol';
import type { Bindings, Trigger } from '../../core/bindings.js';
import { builtUrl } from '../../core/built-url.js';
import type { Store } from '../../core/store.js';
import type { WorkerHost } from '../../core/worker-host.js';
import { canonicalJson } from './canonical-json.js';
import type { StoredTrigger } from './store.js';

export interface PersistentTrigger {
  readonly type: string;
  readonly functionId: string;
  readonly namespace: string;
  readonly triggerNamespace: string | undefined;
  readonly config: Payload;
  readonly metadata: Payload | undefined;
}

export class PersistentTriggers {
  readonly #host: WorkerHost;
  readonly #bindings: Bindings;
  #opened: Promise<Store> | undefined;
  /** Registrations in order: two equal ones at once are one trigger. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(host: WorkerHost, bindings: Bindings) {
    this.#host = host;
    this.#bindings = bindings;
  }

  /**
   * Puts in place what earlier runs have kept, before those start that provide the types. An engine
   * that keeps nothing writes nothing.
   */
  async restore(): Promise<void> {
    if (!existsSync(join(this.#host.dataDir, 'engine.db'))) return;
    const kept = await (await this.#store()).read<StoredTrigger[]>('all');
    this.#bindings.quiet = true;
    for (const { id, type, functionId, namespace, triggerNamespace, config, metadata } of kept) {
      await this.#bindings.register({
        id,
        type,
        functionId,
        namespace,
        triggerNamespace: triggerNamespace ?? undefined,
        config: Payload.fromJson(config),
        metadata: metadata === null ? undefined : Payload.fromJson(metadata),
        owner: undefined,
      });
    }
    this.#bindings.quiet = false;
  }

  /**
   * @returns the trigger's id, an existing one's where the same is there already
   * @throws TrineError of the provider that refused it
   */
  register(trigger: PersistentTrigger): Promise<string> {
    const registered = this.#tail.then(() => this.#register(trigger));
    this.#tail = registered.catch(() => undefined);
    return registered;
  }

  async remove(id: string): Promise<boolean> {
    const removed = await this.#bindings.unregister(id);
    if (removed) await (await this.#store()).write('remove', id);
    return removed;
  }

  async stop(): Promise<void> {
    const store = await this.#opened?.catch(() => undefined);
    await store?.close();
  }

  async #register(trigger: PersistentTrigger): Promise<string> {
    const same = [...this.#bindings.triggers()].find((other) => isSame(trigger, other));
    if (same !== undefined && same.metadata?.json === trigger.metadata?.json) return same.id;
    const store = await this.#store();
    const id = same?.id ?? this.#host.random.uuid();
    const error = await this.#bindings.register({ ...trigger, id, owner: undefined });
    if (error !== undefined) {
      // Also where the provider keeps it aside for later: nobody has its id, so nobody could take it back.
      await this.#bindings.unregister(id);
      // What was there before is kept on disk, so it stays in place too.
      if (same !== undefined)
        await this.#bindings.register({ ...trigger, id, metadata: same.metadata, owner: undefined });
      throw new TrineError(error.code, error.message);
    }
    await store.write('put', {
      id,
      type: trigger.type,
      functionId: trigger.functionId,
      namespace: trigger.namespace,
      triggerNamespace: trigger.triggerNamespace ?? null,
      config: trigger.config.json,
      metadata: trigger.metadata?.json ?? null,
    });
    return id;
  }

  #store(): Promise<Store> {
    return (this.#opened ??= this.#host.storage.open({ module: builtUrl(import.meta.url, './store.js') }));
  }
}

function isSame(wanted: PersistentTrigger, trigger: Trigger): boolean {
  return (
    trigger.owner === undefined &&
    trigger.type === wanted.type &&
    trigger.functionId === wanted.functionId &&
    trigger.namespace === wanted.namespace &&
    trigger.triggerNamespace === wanted.triggerNamespace &&
    canonicalJson(trigger.config.value) === canonicalJson(wanted.config.value)
  );
}
