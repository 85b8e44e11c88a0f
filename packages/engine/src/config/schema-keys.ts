import type { z } from 'zod';
import { valueAt, type ValuePath } from './value-path.js';

/** The keys that a schema knows at a path of a value, for the nearest-key hint. */
export function keysAt(schema: z.ZodType, path: ValuePath, root: unknown): Set<string> {
  let schemas = flatten(schema);
  for (const step of path) schemas = schemas.flatMap((each) => stepInto(each, step));
  const value = valueAt(root, path);
  // Of several shapes, those whose fixed values (`type: redis`) agree with what was given.
  const objects = schemas.flatMap((each) => (each._zod.def.type === 'object' ? [each._zod.def.shape] : []));
  const fitting = objects.filter((shape) =>
    Object.entries(shape).every(([key, field]) => agrees(field, valueAt(value, [key]))),
  );
  return new Set((fitting.length > 0 ? fitting : objects).flatMap((shape) => Object.keys(shape)));
}

type Known = z.core.$ZodTypes;

/** Deeper than any configuration; ends schemas that contain themselves. */
const MAX_DEPTH = 32;

function flatten(schema: z.core.$ZodType, depth = 0): Known[] {
  if (depth > MAX_DEPTH) return [];
  const known = schema as Known;
  const { def } = known._zod;
  switch (def.type) {
    case 'optional':
    case 'nullable':
    case 'default':
    case 'prefault':
    case 'nonoptional':
    case 'readonly':
    case 'catch':
      return flatten(def.innerType, depth + 1);
    case 'lazy':
      return flatten(def.getter(), depth + 1);
    case 'pipe':
      return [...flatten(def.in, depth + 1), ...flatten(def.out, depth + 1)];
    case 'union':
      return def.options.flatMap((option) => flatten(option, depth + 1));
    case 'intersection':
      return [...flatten(def.left, depth + 1), ...flatten(def.right, depth + 1)];
    default:
      return [known];
  }
}

function stepInto(schema: Known, step: string | number): Known[] {
  const { def } = schema._zod;
  if (def.type === 'object') {
    const field = Object.hasOwn(def.shape, step) ? def.shape[step] : def.catchall;
    return field === undefined ? [] : flatten(field);
  }
  if (def.type === 'record') return flatten(def.valueType);
  if (def.type === 'array') return flatten(def.element);
  if (def.type === 'tuple') {
    const item = def.items[Number(step)] ?? def.rest;
    return item === null || item === undefined ? [] : flatten(item);
  }
  return [];
}

/** A field with a fixed value contradicts another value; every other field agrees. */
function agrees(field: z.core.$ZodType, value: unknown): boolean {
  const { def } = (field as Known)._zod;
  return def.type !== 'literal' || (def.values as readonly unknown[]).includes(value);
}
