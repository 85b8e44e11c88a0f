/**
 * Who offers which function. Every (namespace, id) keeps a stack of live owners, newest first: the
 * newest serves, and when it leaves the one before it serves again. `engine::*` ids that the engine
 * itself serves cannot be taken over.
 */
import { DEFAULT_NAMESPACE, ErrorCode, TrineError } from '@trine/protocol';
import type { PendingCall } from './pending-call.js';
import { Emitter } from './emitter.js';
import type { Session } from './session.js';

export interface FunctionOwner {
  readonly id: string;
  readonly namespace: string;
  readonly session: Session;
  readonly description: string | undefined;
  /** JSON Schema, as the worker sent it (or made from a built-in's zod schema when asked for). */
  readonly requestFormat: () => unknown;
  readonly responseFormat: () => unknown;
  readonly metadata: unknown;
  /** Runs the function, when it lives in this process. */
  readonly run: ((call: PendingCall) => void) | undefined;
}

export interface FunctionEvent {
  readonly available: boolean;
  readonly functionId: string;
  readonly namespace: string;
}

interface FunctionEntry {
  readonly id: string;
  readonly namespace: string;
  /** Newest first; never empty while the entry is in the table. */
  readonly owners: FunctionOwner[];
}

export class Registry {
  readonly #namespaces = new Map<string, Map<string, FunctionEntry>>();
  /** A function became callable or stopped being so. */
  readonly availability = new Emitter<FunctionEvent>();
  /** Anything that a list of functions would show differently. */
  readonly changed = new Emitter<void>();

  /**
   * Adds an owner on top of the stack; the same session offering an id again replaces its own.
   *
   * @throws TrineError `FORBIDDEN` for an `engine::*` id that the engine serves
   */
  add(owner: FunctionOwner): void {
    let functions = this.#namespaces.get(owner.namespace);
    if (functions === undefined) this.#namespaces.set(owner.namespace, (functions = new Map<string, FunctionEntry>()));
    const entry = functions.get(owner.id);
    if (entry === undefined) {
      functions.set(owner.id, { id: owner.id, namespace: owner.namespace, owners: [owner] });
      owner.session.functions.add(owner);
      this.availability.emit({ available: true, functionId: owner.id, namespace: owner.namespace });
    } else {
      if (owner.id.startsWith('engine::') && owner.session.kind !== 'engine' && entry.owners.some(isBuiltIn)) {
        throw new TrineError(
          ErrorCode.forbidden,
          `function '${owner.id}' belongs to the engine and cannot be taken over`,
        );
      }
      const own = entry.owners.findIndex((other) => other.session === owner.session);
      if (own >= 0) {
        owner.session.functions.delete(entry.owners[own] as FunctionOwner);
        entry.owners.splice(own, 1);
      }
      entry.owners.unshift(owner);
      owner.session.functions.add(owner);
    }
    this.changed.emit();
  }

  /** Takes one owner out of its stack. An owner that is not in it (any more) is ignored. */
  remove(owner: FunctionOwner): void {
    const functions = this.#namespaces.get(owner.namespace);
    const entry = functions?.get(owner.id);
    const at = entry?.owners.indexOf(owner) ?? -1;
    if (functions === undefined || entry === undefined || at < 0) return;
    entry.owners.splice(at, 1);
    owner.session.functions.delete(owner);
    if (entry.owners.length === 0) {
      functions.delete(owner.id);
      if (functions.size === 0) this.#namespaces.delete(owner.namespace);
      this.availability.emit({ available: false, functionId: owner.id, namespace: owner.namespace });
    }
    this.changed.emit();
  }

  /** Takes back what a session offers under an id. */
  removeFrom(session: Session, namespace: string, id: string): void {
    const owner = this.#namespaces
      .get(namespace)
      ?.get(id)
      ?.owners.find((other) => other.session === session);
    if (owner !== undefined) this.remove(owner);
  }

  /**
   * The owner that serves an id. A namespace that lacks it falls back to a built-in of `default`
   * (clients call `state::*` and `publish` in their own namespace).
   */
  resolve(namespace: string, id: string): FunctionOwner | undefined {
    const owner = this.#namespaces.get(namespace)?.get(id)?.owners[0];
    if (owner !== undefined || namespace === DEFAULT_NAMESPACE) return owner;
    return this.#namespaces.get(DEFAULT_NAMESPACE)?.get(id)?.owners.find(isBuiltIn);
  }

  /** The least-loaded owner among those whose worker name equals the newest one's. */
  resolveReplica(namespace: string, id: string): FunctionOwner | undefined {
    const owners = this.#namespaces.get(namespace)?.get(id)?.owners;
    if (owners === undefined || owners.length === 1) return this.resolve(namespace, id);
    const name = owners[0]?.session.info.name;
    let best: FunctionOwner | undefined;
    for (const owner of owners) {
      if (owner.session.info.name !== name) continue;
      if (best === undefined || owner.session.executing.size < best.session.executing.size) best = owner;
    }
    return best;
  }

  /** The owner that serves an id in exactly this namespace. */
  get(namespace: string, id: string): FunctionOwner | undefined {
    return this.#namespaces.get(namespace)?.get(id)?.owners[0];
  }

  /** Namespaces in which an id is served. */
  namespacesOf(id: string): string[] {
    return [...this.#namespaces].filter(([, functions]) => functions.has(id)).map(([namespace]) => namespace);
  }

  /** The serving owner of every function. */
  *serving(): IterableIterator<FunctionOwner> {
    for (const functions of this.#namespaces.values()) {
      for (const entry of functions.values()) yield entry.owners[0] as FunctionOwner;
    }
  }
}

export function isBuiltIn(owner: FunctionOwner): boolean {
  return owner.session.kind === 'engine';
}
