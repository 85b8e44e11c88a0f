/** Cross-origin headers: the same on every answer, errors included. */
import type { CorsSettings } from './config.js';

const VARY = ['vary', 'origin, access-control-request-method, access-control-request-headers'];
const ANY = '*';

const METHOD = /^[\w!#$%&'*+.^`|~-]+$/;

export class Cors {
  /** Undefined = any origin. */
  readonly #origins: ReadonlySet<string> | undefined;
  readonly #exposed: boolean;
  readonly #methods: string;
  /** The headers of an answer where every origin may read: made once. */
  readonly #open: readonly string[];

  /** @param settings - null = any origin may read everything */
  constructor(settings: CorsSettings | null) {
    const origins = settings?.allowed_origins ?? [];
    const methods = settings?.allowed_methods ?? [];
    this.#origins = origins.length === 0 || origins.includes(ANY) ? undefined : new Set(origins);
    this.#exposed = settings === null;
    this.#methods = methods.length === 0 ? ANY : methods.filter((method) => METHOD.test(method)).join(',');
    this.#open = this.#answerFor(ANY);
  }

  /** Headers of an answer, names and values in turns. They replace those that a function set. */
  headers(origin: string | undefined): readonly string[] {
    if (this.#origins === undefined) return this.#open;
    return origin !== undefined && this.#origins.has(origin) ? this.#answerFor(origin) : VARY;
  }

  /** Headers of the answer to a preflight. */
  preflight(origin: string | undefined): readonly string[] {
    const headers: string[] = [];
    if (this.#origins === undefined) headers.push('access-control-allow-origin', ANY);
    else if (origin !== undefined && this.#origins.has(origin)) headers.push('access-control-allow-origin', origin);
    if (this.#methods !== '') headers.push('access-control-allow-methods', this.#methods);
    headers.push('access-control-allow-headers', ANY, ...VARY);
    return headers;
  }

  #answerFor(origin: string): readonly string[] {
    const headers = ['access-control-allow-origin', origin];
    if (this.#exposed) headers.push('access-control-expose-headers', ANY);
    return [...headers, ...VARY];
  }
}

/** What is odd in the settings, for the log. */
export function corsWarning(settings: CorsSettings | null): string | undefined {
  const origins = settings?.allowed_origins ?? [];
  return origins.length > 1 && origins.includes(ANY)
    ? 'cors.allowed_origins has * beside other origins: any origin is allowed'
    : undefined;
}
