import { invalidRoute } from './errors.js';

/** Longest path of a route, in characters, and most segments in it: bounds of one trigger, not of a request. */
const MAX_PATTERN_CHARS = 8192;
const MAX_SEGMENTS = 256;

/** A literal segment is its text; the others take what the request has there. */
export type Segment = string | typeof PARAMETER | typeof REST;
export const PARAMETER = Symbol('parameter');
export const REST = Symbol('rest');

export interface PathPattern {
  readonly segments: readonly Segment[];
  /** Names of the parameters and of the catch-all, in the order of their segments. */
  readonly names: readonly string[];
}

/**
 * Reads the path of a route. Leading slashes do not count, a trailing one does. A segment `:name` or
 * `{name}` is a parameter and takes a whole segment; a last segment `*`, `*name` or `{*name}` takes one
 * or more remaining characters, slashes included (a bare `*` is named `*`). Nothing is decoded.
 *
 * @throws TrineError `invalid_route` for braces and stars elsewhere, parameters without a name and
 *   paths over the bounds
 */
export function parsePattern(path: string): PathPattern {
  if (path.length > MAX_PATTERN_CHARS) {
    throw invalidRoute(`api_path has ${path.length} characters: at most ${MAX_PATTERN_CHARS} are possible`);
  }
  const texts = path.replace(/^\/+/, '').split('/');
  if (texts.length > MAX_SEGMENTS) {
    throw invalidRoute(`api_path '${path}' has ${texts.length} segments: at most ${MAX_SEGMENTS} are possible`);
  }
  const names: string[] = [];
  const segments = texts.map((text, index) => {
    const segment = readSegment(text, index === texts.length - 1, path);
    if (segment.name !== undefined) names.push(segment.name);
    return segment.kind;
  });
  return { segments, names };
}

function readSegment(text: string, last: boolean, path: string): { kind: Segment; name?: string } {
  if (text.startsWith(':')) return { kind: PARAMETER, name: plainName(text.slice(1), text, path) };
  if (text.startsWith('*')) {
    if (!last) throw refused(text, path, 'a catch-all must be the last segment');
    return { kind: REST, name: text === '*' ? '*' : plainName(text.slice(1), text, path) };
  }
  if (text.startsWith('{*') && text.endsWith('}')) {
    if (!last) throw refused(text, path, 'a catch-all must be the last segment');
    return { kind: REST, name: plainName(text.slice(2, -1), text, path) };
  }
  if (text.startsWith('{') && text.endsWith('}')) {
    return { kind: PARAMETER, name: plainName(text.slice(1, -1), text, path) };
  }
  if (/[{}*]/.test(text)) throw refused(text, path, 'braces and stars fill a whole segment');
  return { kind: text };
}

function plainName(name: string, text: string, path: string): string {
  if (name === '') throw refused(text, path, 'a parameter needs a name');
  if (/[{}*]/.test(name)) throw refused(text, path, 'a name has no braces and stars');
  return name;
}

function refused(segment: string, path: string, why: string): Error {
  return invalidRoute(
    `api_path '${path}': segment '${segment}' is not possible: ${why} (write :name or {name}, and *name at the end)`,
  );
}
