/** Ids that are stored under others than the worker gave them. Empty for most sessions. */
export class Renames {
  readonly #stored = new Map<string, string>();
  readonly #own = new Map<string, string>();

  set(own: string, stored: string): void {
    this.delete(own);
    if (own === stored) return;
    this.#stored.set(own, stored);
    this.#own.set(stored, own);
  }

  delete(own: string): void {
    const stored = this.#stored.get(own);
    if (stored === undefined) return;
    this.#stored.delete(own);
    this.#own.delete(stored);
  }

  stored(own: string): string {
    return this.#stored.get(own) ?? own;
  }

  own(stored: string): string {
    return this.#own.get(stored) ?? stored;
  }
}
