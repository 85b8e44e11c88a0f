/**
 * `${VAR}` and `${VAR:default}` in values: after the YAML is parsed, never in keys or comments.
 *
 * A set but empty variable wins over the default. A default may contain `:` but no `}`. A value that
 * is exactly one placeholder becomes what YAML would make of the text (`${PORT:3111}` is a number),
 * unless it stands in quotes; text around a placeholder keeps it text.
 */
import { isScalar, parseDocument } from 'yaml';
import { ENGINE_VERSION } from '../version.js';
import type { ValuePath } from './value-path.js';

const PLACEHOLDER = /\$\{([^}:]+)(?::([^}]*))?\}/g;
const EXACTLY_ONE = /^\$\{[^}:]+(?::[^}]*)?\}$/;

/** A default with a meaning of its own: the version of the engine. */
const VERSION_DEFAULT = '__III_ENGINE_VERSION__';

export interface ExpandOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Told of each variable that is unset and has no default. */
  readonly unset: (variable: string, path: ValuePath) => void;
  /** Does the text at this path stand in quotes? Default: no. */
  readonly quoted?: (path: ValuePath) => boolean;
}

/** A copy of `value` with its placeholders replaced. One that cannot be replaced stays as it is. */
export function expand(value: unknown, options: ExpandOptions, path: ValuePath = []): unknown {
  if (typeof value === 'string') return expandText(value, options, path);
  if (Array.isArray(value)) return value.map((item, index) => expand(item, options, [...path, index]));
  if (typeof value !== 'object' || value === null) return value;
  const copy: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    // Not by assignment: a key `__proto__` must stay a key.
    Object.defineProperty(copy, key, {
      value: expand(item, options, [...path, key]),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return copy;
}

function expandText(text: string, options: ExpandOptions, path: ValuePath): unknown {
  let missing = false;
  const expanded = text.replace(PLACEHOLDER, (placeholder, variable: string, fallback: string | undefined) => {
    const value = options.env[variable] ?? (fallback === VERSION_DEFAULT ? ENGINE_VERSION : fallback);
    if (value !== undefined) return value;
    missing = true;
    options.unset(variable, path);
    return placeholder;
  });
  if (missing || !EXACTLY_ONE.test(text) || options.quoted?.(path) === true) return expanded;
  return scalarOf(expanded);
}

/** Text that reads as a number, a truth value or null, as such. `007` and numbers too big to keep stay text. */
function scalarOf(text: string): unknown {
  if (text === '' || /^[-+]?0\d/.test(text)) return text;
  const { contents, errors } = parseDocument(text, { prettyErrors: false });
  if (errors.length > 0 || !isScalar(contents) || contents.type !== 'PLAIN' || contents.comment !== undefined)
    return text;
  const { value } = contents;
  if (typeof value === 'number') return Number.isInteger(value) && !Number.isSafeInteger(value) ? text : value;
  return typeof value === 'boolean' || value === null ? value : text;
}
