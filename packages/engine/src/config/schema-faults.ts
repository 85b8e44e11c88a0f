/** What a schema finds wrong with a value, in plain words, with the nearest known key. */
import type { z } from 'zod';
import { nearestName } from '../core/input-fault.js';
import { keysAt } from './schema-keys.js';
import { valueAt, type ValuePath } from './value-path.js';

/** One fault of a value. */
export interface SchemaFault {
  /** Where the value is that is wrong. */
  readonly path: ValuePath;
  /** An unknown key at `path`, so that its own line can be shown. */
  readonly key?: string;
  readonly message: string;
}

/** Text from the user's file that a message repeats is cut here, in characters. */
const MAX_SHOWN_TEXT = 40;

export function schemaFaults(error: z.ZodError, schema: z.ZodType, value: unknown): SchemaFault[] {
  const faults = error.issues.flatMap((issue) => describe(issue, [], schema, value));
  // `max_retrys` for a needed `max_retries` is one mistake, not two.
  const meant = new Set(
    faults.filter((fault) => fault.key !== undefined).map((fault) => [...fault.path, hintOf(fault) ?? ''].join('\0')),
  );
  return faults.filter((fault) => !(fault.message === MISSING && meant.has(fault.path.join('\0'))));
}

const MISSING = 'is required';

function describe(issue: z.core.$ZodIssue, base: ValuePath, schema: z.ZodType, root: unknown): SchemaFault[] {
  const path = [...base, ...issue.path.map((step) => (typeof step === 'number' ? step : String(step)))];
  const given = valueAt(root, path);
  const at = (message: string): SchemaFault[] => [{ path, message }];
  if (!isDefaultMessage(issue.message) && issue.code !== 'unrecognized_keys') return at(issue.message);
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => {
        const nearest = nearestName(key, keysAt(schema, path, root));
        return {
          path,
          key,
          message: `unknown key "${key}"${nearest === undefined ? '' : ` (did you mean "${nearest}"?)`}`,
        };
      });
    case 'invalid_type':
      return at(given === undefined ? MISSING : `expected ${typeWord(issue.expected)}, got ${valueWord(given)}`);
    case 'invalid_value':
      if (given === undefined) return at(MISSING);
      return at(oneOf(issue.values.map(String), given));
    case 'invalid_union':
      return describeUnion(issue, path, schema, root);
    case 'invalid_key':
      return at(
        `the name "${String(path.at(-1))}" is not allowed here: ${issue.issues.map((inner) => inner.message).join('; ')}`,
      );
    case 'invalid_element':
      return issue.issues.flatMap((inner) => describe(inner, path, schema, root));
    case 'too_small':
      return at(
        `${bound('at least', issue.minimum, issue.inclusive !== false, 'more than', issue.origin)}, got ${valueWord(given)}`,
      );
    case 'too_big':
      return at(
        `${bound('at most', issue.maximum, issue.inclusive !== false, 'less than', issue.origin)}, got ${valueWord(given)}`,
      );
    case 'not_multiple_of':
      return at(`must be a multiple of ${issue.divisor}, got ${valueWord(given)}`);
    case 'invalid_format':
      return at(
        issue.format === 'regex'
          ? `does not match ${issue.pattern ?? 'the expected form'}`
          : `is not a valid ${issue.format}`,
      );
    default:
      return at(issue.message);
  }
}

function describeUnion(
  issue: z.core.$ZodIssueInvalidUnion,
  path: ValuePath,
  schema: z.ZodType,
  root: unknown,
): SchemaFault[] {
  const given = valueAt(root, path);
  const { discriminator, options } = issue as { discriminator?: string; options?: readonly unknown[] };
  if (discriminator !== undefined && issue.errors.length === 0) {
    const known = (options ?? []).map(String);
    return [
      {
        path,
        message: given === undefined ? `${MISSING} (one of ${known.map(quote).join(', ')})` : oneOf(known, given),
      },
    ];
  }
  if (given === undefined) return [{ path, message: MISSING }];
  // The branch that was meant is the one whose type fits; among those, the one with the fewest faults.
  const branches = issue.errors.filter(
    (issues) => !issues.some((inner) => inner.path.length === 0 && inner.code === 'invalid_type'),
  );
  const nearest = branches.sort((a, b) => a.length - b.length)[0];
  if (nearest !== undefined) return nearest.flatMap((inner) => describe(inner, path, schema, root));
  const expected = issue.errors.flatMap((issues) =>
    issues.flatMap((inner) => (inner.code === 'invalid_type' ? [typeWord(inner.expected)] : [])),
  );
  return [{ path, message: `expected ${[...new Set(expected)].join(' or ')}, got ${valueWord(given)}` }];
}

/** Messages that zod makes by itself; others were written for the user and are shown as they are. */
function isDefaultMessage(message: string): boolean {
  return /^(Invalid |Too (big|small)|Unrecognized key)/.test(message);
}

function oneOf(known: readonly string[], given: unknown): string {
  const nearest = typeof given === 'string' ? nearestName(given, known) : undefined;
  const hint = nearest === undefined ? '' : ` (did you mean "${nearest}"?)`;
  if (known.length === 1) return `must be ${quote(known[0] ?? '')}, got ${valueWord(given, true)}${hint}`;
  return `must be one of ${known.map(quote).join(', ')}, got ${valueWord(given, true)}${hint}`;
}

function bound(
  words: string,
  limit: number | bigint,
  inclusive: boolean,
  exclusiveWords: string,
  origin: string,
): string {
  const unit = origin === 'string' ? ' characters' : origin === 'array' || origin === 'set' ? ' items' : '';
  return `must ${unit === '' ? 'be' : 'have'} ${inclusive ? words : exclusiveWords} ${String(limit)}${unit}`;
}

function quote(text: string): string {
  return `"${text}"`;
}

function typeWord(expected: string): string {
  switch (expected) {
    case 'number':
      return 'a number';
    case 'int':
      return 'a whole number';
    case 'string':
      return 'text';
    case 'boolean':
      return 'true or false';
    case 'array':
      return 'a list';
    case 'object':
    case 'record':
      return 'a block of keys';
    case 'undefined':
      return 'nothing here';
    default:
      return expected;
  }
}

/** What was given. Text is repeated only where asked for: it may be a secret. */
export function valueWord(value: unknown, showText = false): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'nothing (null)';
  if (typeof value === 'string') return showText ? quote(value.slice(0, MAX_SHOWN_TEXT)) : 'text';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : 'a block of keys';
}

function hintOf(fault: SchemaFault): string | undefined {
  return /did you mean "([^"]*)"/.exec(fault.message)?.[1];
}
