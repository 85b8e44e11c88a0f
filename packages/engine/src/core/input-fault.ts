import { distance } from 'fastest-levenshtein';
import type { z } from 'zod';

/**
 * Says in a few words what is wrong with an input: the phrasing that clients of the protocol know
 * (``missing field `x` ``, ``unknown field `x` ``) plus the nearest known name where there is one.
 */
export function describeInputFault(error: z.ZodError, input: unknown): string {
  return error.issues
    .slice(0, MAX_FAULTS)
    .map((issue) => describe(issue, input))
    .join('; ');
}

/** Faults told at once; the rest is seen after these are mended. */
const MAX_FAULTS = 3;

function describe(issue: z.core.$ZodIssue, input: unknown): string {
  const where = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `unknown field \`${where === '' ? key : `${where}.${key}`}\``).join(', ');
  }
  if (issue.code === 'invalid_type' && at(input, issue.path) === undefined && where !== '')
    return `missing field \`${where}\``;
  if (issue.code === 'invalid_union' && at(input, issue.path) === undefined && where !== '')
    return `missing field \`${where}\``;
  return where === '' ? issue.message : `field \`${where}\`: ${issue.message}`;
}

function at(input: unknown, path: readonly PropertyKey[]): unknown {
  let value: unknown = input;
  for (const step of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[step];
  }
  return value;
}

/** The known name nearest to a mistyped one, if near enough to be meant. */
export function nearestName(typed: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(typed.length / 3)) + 1;
  for (const name of known) {
    const d = distance(typed.toLowerCase(), name.toLowerCase());
    if (d < bestDistance) {
      best = name;
      bestDistance = d;
    }
  }
  return best;
}
