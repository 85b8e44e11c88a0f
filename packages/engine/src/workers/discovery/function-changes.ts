/**
 * What changed among the functions since someone was told: those that came or went, and those whose
 * description, metadata or schemas are others. Who serves a function is no change.
 */
import type { FunctionOwner, Registry } from '../../core/registry.js';
import { canonicalJson } from './canonical-json.js';

export class FunctionChanges {
  readonly #registry: Registry;
  #told = new Map<string, FunctionOwner>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** What is there now is known. */
  reset(): void {
    this.#told = this.#serving();
  }

  /** Nobody wants to know: nothing is kept. */
  forget(): void {
    this.#told = new Map();
  }

  /** Did anything change since the last look? What came and went meanwhile is no change. */
  look(): boolean {
    const before = this.#told;
    const now = (this.#told = this.#serving());
    if (now.size !== before.size) return true;
    for (const [key, owner] of now) {
      const known = before.get(key);
      if (known === undefined) return true;
      if (known !== owner && shown(known) !== shown(owner)) return true;
    }
    return false;
  }

  #serving(): Map<string, FunctionOwner> {
    const serving = new Map<string, FunctionOwner>();
    for (const owner of this.#registry.serving()) serving.set(JSON.stringify([owner.namespace, owner.id]), owner);
    return serving;
  }
}

/** What a client is shown of a function, beside its id. */
function shown(owner: FunctionOwner): string {
  return canonicalJson([owner.description, owner.metadata, owner.requestFormat(), owner.responseFormat()]);
}
