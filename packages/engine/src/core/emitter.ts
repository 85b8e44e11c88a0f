import type { Registration } from './worker-host.js';

/** A list of listeners for one kind of event. A listener that throws is the emitter's bug to fix. */
export class Emitter<Event> {
  readonly #listeners = new Set<(event: Event) => void>();

  on(listener: (event: Event) => void): Registration {
    const own = (event: Event): void => listener(event);
    this.#listeners.add(own);
    return { remove: () => void this.#listeners.delete(own) };
  }

  emit(event: Event): void {
    for (const listener of this.#listeners) listener(event);
  }
}
