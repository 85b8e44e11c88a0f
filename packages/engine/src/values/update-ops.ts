/**
 * The six update operations, on JSON text: what an operation does not touch stays as it was written
 * (`1.0`, big integers, escapes). Pure; runs inside the storage thread.
 *
 * Operations run in order. A failing one adds an error and is skipped, the rest still apply, and the
 * final value counts either way. A key that does not exist starts as `{}` with the mark `missing`
 * (`increment` and `append` at the root then start from nothing); any operation that succeeds clears it.
 */
import { scanObject } from '@trine/protocol/plain';
import { jsonKind, type JsonKind } from '../core/raw-input.js';
import { concatStrings, nestingDepth, pushElement } from './json-text.js';

/** Literal segments; empty = the root. */
export type Path = readonly string[];

/** Values and amounts are raw JSON texts. */
export type UpdateOp =
  | { readonly type: 'set'; readonly path: Path; readonly value: string }
  | { readonly type: 'merge'; readonly path: Path; readonly value: string }
  | { readonly type: 'increment'; readonly path: Path; readonly by: string }
  | { readonly type: 'decrement'; readonly path: Path; readonly by: string }
  | { readonly type: 'append'; readonly path: Path; readonly value: string }
  | { readonly type: 'remove'; readonly path: Path };

export type UpdateOpError = {
  readonly op_index: number;
  readonly code: string;
  readonly message: string;
  readonly doc_url: string;
};

/** Most segments of a path. */
export const MAX_PATH_DEPTH = 32;
/** Longest segment of a path, in UTF-8 bytes. */
export const MAX_SEGMENT_BYTES = 256;
/** Deepest nesting of a merged object, in levels of `{` and `[`, itself included. */
export const MAX_MERGE_DEPTH = 16;
/** Most top-level keys of a merged object. */
export const MAX_MERGE_KEYS = 1024;
/** Keys that change the prototype of a JavaScript object in careless readers. */
const POLLUTING_KEYS = new Set(['__proto__', 'constructor', 'prototype']);
/** Where the codes are explained; part of the wire format. */
export const UPDATE_ERRORS_URL = 'https://iii.dev/docs/workers/iii-state#error-codes';
/** Largest magnitude that arithmetic may produce: above it clients that read numbers as doubles see another number. */
const MAX_INTEGER = BigInt(Number.MAX_SAFE_INTEGER);
/** Longest 64-bit integer as text. Nothing longer can be brought back into range, and reading it would take long. */
const MAX_INTEGER_LENGTH = 20;

/**
 * Applies operations to a value.
 *
 * @param stored - raw text of the value, undefined when the key does not exist
 */
export function applyUpdateOps(
  stored: string | undefined,
  ops: readonly UpdateOp[],
): { value: string; errors: UpdateOpError[] } {
  const target = new UpdateTarget(stored);
  const errors: UpdateOpError[] = [];
  ops.forEach((op, index) => {
    const fault = target.apply(op);
    if (fault !== undefined)
      errors.push({ op_index: index, code: fault.code, message: fault.message, doc_url: UPDATE_ERRORS_URL });
  });
  return { value: print(target.root), errors };
}

/** Raw text, or an object that was opened to reach into it. */
type Node = string | Members;
type Members = Map<string, Node>;

interface Fault {
  readonly code: string;
  readonly message: string;
}

class UpdateTarget {
  root: Node;
  #missing: boolean;

  constructor(stored: string | undefined) {
    this.root = stored ?? '{}';
    this.#missing = stored === undefined;
  }

  apply(op: UpdateOp): Fault | undefined {
    const fault = pathFault(op) ?? this.#run(op);
    if (fault === undefined) this.#missing = false;
    return fault;
  }

  #run(op: UpdateOp): Fault | undefined {
    switch (op.type) {
      case 'set':
        return this.#set(op.path[0], op.value);
      case 'merge':
        return mergeFault(op.value) ?? this.#merge(op.path, op.value);
      case 'increment':
        return this.#add(op.type, op.path[0], BigInt(op.by));
      case 'decrement':
        return this.#add(op.type, op.path[0], -BigInt(op.by));
      case 'append':
        return this.#append(op.path, op.value);
      case 'remove':
        return this.#remove(op.path[0]);
    }
  }

  #set(key: string | undefined, value: string): Fault | undefined {
    if (key === undefined) {
      this.root = value;
      return undefined;
    }
    const members = this.#openRoot();
    if (members === undefined) return targetNotObject('set', key, this.root);
    members.set(key, value);
    return undefined;
  }

  #merge(path: Path, value: string): Fault | undefined {
    const members = path.length === 0 ? this.#openRoot() : this.#descend(path);
    // A root that is no object is left as it is, without an error: so says the protocol.
    if (members !== undefined) for (const [key, member] of open(value) as Members) members.set(key, member);
    return undefined;
  }

  #add(type: 'increment' | 'decrement', key: string | undefined, by: bigint): Fault | undefined {
    if (key === undefined) {
      const sum = this.#missing ? by.toString() : addTo(this.root, by);
      if (sum === undefined) return notNumber(type, 'root', this.root);
      this.root = sum;
      return undefined;
    }
    const members = this.#openRoot();
    if (members === undefined) return targetNotObject(type, key, this.root);
    const leaf = members.get(key);
    const sum = leaf === undefined ? by.toString() : addTo(leaf, by);
    if (sum === undefined) return notNumber(type, key, leaf as Node);
    members.set(key, sum);
    return undefined;
  }

  #append(path: Path, value: string): Fault | undefined {
    if (path.length === 0) {
      const grown = appended(this.#missing ? 'null' : this.root, value, 'root');
      if (typeof grown !== 'string') return grown;
      this.root = grown;
      return undefined;
    }
    if (this.#openRoot() === undefined) return targetNotObject('append', `[${path.join(', ')}]`, this.root);
    const key = path[path.length - 1] as string;
    const members = this.#descend(path.slice(0, -1));
    // Below the first level a new leaf is always an array, also for a string.
    const leaf = members.get(key) ?? (path.length === 1 ? 'null' : '[]');
    const grown = appended(leaf, value, key);
    if (typeof grown !== 'string') return grown;
    members.set(key, grown);
    return undefined;
  }

  #remove(key: string | undefined): Fault | undefined {
    if (key === undefined) {
      this.root = 'null';
      return undefined;
    }
    const members = this.#openRoot();
    if (members === undefined) return targetNotObject('remove', key, this.root);
    members.delete(key);
    return undefined;
  }

  /** The root's members, or undefined when it is not an object. */
  #openRoot(): Members | undefined {
    const members = open(this.root);
    if (members !== undefined) this.root = members;
    return members;
  }

  /** The object at a path; whatever is missing or no object on the way becomes `{}`, the root included. */
  #descend(path: Path): Members {
    let members = this.#openRoot();
    if (members === undefined) this.root = members = new Map<string, Node>();
    for (const segment of path) {
      const child = members.get(segment);
      const next: Members = (child === undefined ? undefined : open(child)) ?? new Map<string, Node>();
      members.set(segment, next);
      members = next;
    }
    return members;
  }
}

/** An object's members by key, in order; undefined when the node is no object. */
function open(node: Node): Members | undefined {
  if (typeof node !== 'string') return node;
  const spans = scanObject(node);
  if (spans === undefined) return undefined;
  const members: Members = new Map();
  spans.keys.forEach((key, i) => members.set(key, node.slice(spans.starts[i], spans.ends[i])));
  return members;
}

function print(node: Node): string {
  if (typeof node === 'string') return node;
  const members: string[] = [];
  for (const [key, member] of node) members.push(`${JSON.stringify(key)}:${print(member)}`);
  return `{${members.join(',')}}`;
}

function kindOf(node: Node): JsonKind {
  return typeof node === 'string' ? jsonKind(node) : 'object';
}

/** The sum as text; undefined when the node is no number or the sum is none that every client reads alike. */
function addTo(node: Node, by: bigint): string | undefined {
  if (typeof node !== 'string' || jsonKind(node) !== 'number') return undefined;
  if (!/[.eE]/.test(node)) {
    if (node.length > MAX_INTEGER_LENGTH) return undefined;
    const sum = BigInt(node) + by;
    return sum > MAX_INTEGER || sum < -MAX_INTEGER ? undefined : sum.toString();
  }
  const sum = Number(node) + Number(by);
  if (!Number.isFinite(sum)) return undefined;
  const text = String(sum);
  // A float stays one, whatever its value.
  return /[.e]/.test(text) ? text : `${text}.0`;
}

function appended(leaf: Node, value: string, label: string): string | Fault {
  const kind = kindOf(leaf);
  const valueKind = jsonKind(value);
  if (kind === 'null') return valueKind === 'string' ? value : `[${value}]`;
  if (kind === 'array') return pushElement(leaf as string, value);
  if (kind === 'string') {
    if (valueKind === 'string') return concatStrings(leaf as string, value);
    return {
      code: 'append.type_mismatch',
      message: `Expected string append value at path '${label}', got ${valueKind}.`,
    };
  }
  const message = `Cannot append at path '${label}': target is ${kind}, expected array, string, null, or missing field.`;
  return { code: 'append.type_mismatch', message };
}

function pathFault(op: UpdateOp): Fault | undefined {
  if (op.path.length > MAX_PATH_DEPTH) {
    return {
      code: `${op.type}.path.too_deep`,
      message: `Path depth ${op.path.length} exceeds maximum of ${MAX_PATH_DEPTH}`,
    };
  }
  for (const segment of op.path) {
    if (segment === '') return { code: `${op.type}.path.empty_segment`, message: 'Path contains an empty segment' };
    const bytes = Buffer.byteLength(segment);
    if (bytes > MAX_SEGMENT_BYTES) {
      const message = `Path segment of ${bytes} bytes exceeds maximum of ${MAX_SEGMENT_BYTES}`;
      return { code: `${op.type}.path.segment_too_long`, message };
    }
    if (POLLUTING_KEYS.has(segment)) {
      return {
        code: `${op.type}.path.proto_polluted`,
        message: `Path segment '${segment}' is not allowed (prototype pollution).`,
      };
    }
  }
  return undefined;
}

function mergeFault(value: string): Fault | undefined {
  const members = open(value);
  if (members === undefined) return { code: 'merge.value.not_an_object', message: 'Merge value must be a JSON object' };
  if (members.size > MAX_MERGE_KEYS) {
    const message = `Merge value has ${members.size} top-level keys, exceeds maximum of ${MAX_MERGE_KEYS}`;
    return { code: 'merge.value.too_many_keys', message };
  }
  for (const key of members.keys()) {
    if (!POLLUTING_KEYS.has(key)) continue;
    return {
      code: 'merge.value.proto_polluted',
      message: `Merge value top-level key "${key}" is a prototype-pollution sink`,
    };
  }
  const depth = nestingDepth(value);
  if (depth <= MAX_MERGE_DEPTH) return undefined;
  return {
    code: 'merge.value.too_deep',
    message: `Merge value JSON nesting depth ${depth} exceeds maximum of ${MAX_MERGE_DEPTH}`,
  };
}

function targetNotObject(type: UpdateOp['type'], label: string, root: Node): Fault {
  const message = `Cannot ${type} at path '${label}': target is ${kindOf(root)}, expected object.`;
  return { code: `${type}.target_not_object`, message };
}

function notNumber(type: 'increment' | 'decrement', label: string, node: Node): Fault {
  return { code: `${type}.not_number`, message: `Expected number at path '${label}', got ${kindOf(node)}.` };
}
