import { MAX_JSON_DEPTH, scanObject, type ObjectSpans } from '@trine/protocol';
import { deserializationError, jsonKind } from '../core/raw-input.js';
import { elementTexts, nestingDepth } from './json-text.js';
import type { Path, UpdateOp } from './update-ops.js';

/** Most operations of one update: it holds up all other writes while it runs. */
export const MAX_UPDATE_OPS = 1024;
/** Deepest place that an update may write to, so that the whole value stays readable inside an answer. */
const MAX_VALUE_DEPTH = MAX_JSON_DEPTH - 4;

const TYPES = ['set', 'merge', 'increment', 'decrement', 'append', 'remove'] as const;

const MAX_I64 = 2n ** 63n - 1n;
const MIN_I64 = -(2n ** 63n);
const MAX_I64_LENGTH = String(MIN_I64).length;

/**
 * Reads the operations of an update, values as raw text.
 *
 * @param functionId - named in errors
 * @param text - raw text of `ops`
 * @throws TrineError `deserialization_error` when one of them has not the shape of its type
 */
export function readUpdateOps(functionId: string, text: string): UpdateOp[] {
  if (jsonKind(text) !== 'array')
    throw deserializationError(functionId, `invalid type: ${jsonKind(text)}, expected an array at \`ops\``);
  const elements = elementTexts(text);
  if (elements.length > MAX_UPDATE_OPS) {
    throw deserializationError(
      functionId,
      `\`ops\` has ${elements.length} operations, the limit is ${MAX_UPDATE_OPS}: send several updates`,
    );
  }
  return elements.map((element, index) => new OpInput(functionId, index, element).read());
}

/** The operations as JSON again, for another engine. */
export function updateOpsText(ops: readonly UpdateOp[]): string {
  const texts = ops.map((op) => {
    const path = JSON.stringify(op.type === 'merge' || op.type === 'append' ? op.path : (op.path[0] ?? ''));
    const amount = 'by' in op ? `,"by":${op.by}` : 'value' in op ? `,"value":${op.value}` : '';
    return `{"type":"${op.type}","path":${path}${amount}}`;
  });
  return `[${texts.join(',')}]`;
}

class OpInput {
  readonly #functionId: string;
  readonly #index: number;
  readonly #text: string;
  readonly #spans: ObjectSpans;

  constructor(functionId: string, index: number, text: string) {
    this.#functionId = functionId;
    this.#index = index;
    this.#text = text;
    const spans = scanObject(text);
    if (spans === undefined)
      throw deserializationError(functionId, `ops[${index}]: invalid type: ${jsonKind(text)}, expected an object`);
    this.#spans = spans;
  }

  read(): UpdateOp {
    const type = this.#string('type');
    switch (type) {
      case 'set':
        return this.#withValue(type, this.#key(), this.#member('value') ?? 'null');
      case 'merge':
      case 'append':
        return this.#withValue(type, this.#path(), this.#required('value'));
      case 'increment':
      case 'decrement':
        return { type, path: this.#key(), by: this.#integer('by') };
      case 'remove':
        return { type, path: this.#key() };
      default:
        throw this.#fault(
          `unknown variant \`${type}\`, expected one of ${TYPES.map((name) => `\`${name}\``).join(', ')}`,
        );
    }
  }

  #withValue(type: 'set' | 'merge' | 'append', path: Path, value: string): UpdateOp {
    const depth = path.length + 1 + nestingDepth(value);
    if (depth > MAX_VALUE_DEPTH)
      throw this.#fault(`the value would be nested ${depth} levels deep, the limit is ${MAX_VALUE_DEPTH}`);
    return { type, path, value };
  }

  /** A string path is one literal key; empty = the root. */
  #key(): Path {
    const key = this.#string('path');
    return key === '' ? [] : [key];
  }

  #path(): Path {
    const text = this.#member('path');
    if (text === undefined || text === 'null') return [];
    if (jsonKind(text) !== 'array') return this.#key();
    return elementTexts(text).map((segment) => {
      if (jsonKind(segment) !== 'string')
        throw this.#fault(`invalid type: ${jsonKind(segment)}, expected a string in \`path\``);
      return JSON.parse(segment) as string;
    });
  }

  #integer(field: string): string {
    const text = this.#required(field);
    if (jsonKind(text) !== 'number')
      throw this.#fault(`invalid type: ${jsonKind(text)}, expected an integer at \`${field}\``);
    if (/[.eE]/.test(text))
      throw this.#fault(`invalid type: floating point \`${text}\`, expected an integer at \`${field}\``);
    if (text.length > MAX_I64_LENGTH || BigInt(text) > MAX_I64 || BigInt(text) < MIN_I64) {
      throw this.#fault(`invalid value: integer \`${text.slice(0, MAX_I64_LENGTH)}\`, expected i64 at \`${field}\``);
    }
    return text;
  }

  #string(field: string): string {
    const text = this.#required(field);
    if (jsonKind(text) !== 'string')
      throw this.#fault(`invalid type: ${jsonKind(text)}, expected a string at \`${field}\``);
    return JSON.parse(text) as string;
  }

  #required(field: string): string {
    const text = this.#member(field);
    if (text === undefined) throw this.#fault(`missing field \`${field}\``);
    return text;
  }

  #member(field: string): string | undefined {
    const at = this.#spans.keys.lastIndexOf(field);
    return at < 0 ? undefined : this.#text.slice(this.#spans.starts[at], this.#spans.ends[at]);
  }

  #fault(detail: string): Error {
    return deserializationError(this.#functionId, `ops[${this.#index}]: ${detail}`);
  }
}
