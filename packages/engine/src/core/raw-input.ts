/**
 * The input of a handler that keeps raw text (`FunctionDefinition.raw`): an object whose members are
 * found by the scanner, and only those that are asked for are read.
 *
 * Hot path: one scan per call, no parse of a member that is passed on as text.
 */
import {
  CALLER_KEY,
  ErrorCode,
  ownText,
  scanObject,
  TrineError,
  type Members,
  type ObjectSpans,
  type Payload,
} from '@trine/protocol/plain';
import { nearestName } from './input-fault.js';

/** The answer to an input that does not fit, in the words that typed clients match on. */
export function deserializationError(functionId: string, detail: string): TrineError {
  return new TrineError(ErrorCode.deserialization, `Failed to deserialize input for ${functionId}: ${detail}`);
}

export class RawInput {
  readonly #functionId: string;
  readonly #text: string;
  readonly #spans: ObjectSpans | undefined;
  readonly #members: Members | undefined;

  /**
   * @param functionId - named in errors
   * @throws TrineError `deserialization_error` when the payload is not an object
   */
  constructor(functionId: string, payload: Payload) {
    this.#functionId = functionId;
    this.#members = payload.members;
    this.#text = payload.members === undefined ? payload.json : '';
    if (this.#members !== undefined) return;
    const spans = scanObject(this.#text);
    if (spans === undefined)
      throw deserializationError(functionId, `invalid type: ${jsonKind(this.#text)}, expected an object`);
    this.#spans = spans;
  }

  /** The raw text of a member, or undefined when there is none. With duplicate keys the last one counts. */
  text(field: string): string | undefined {
    if (this.#spans === undefined) return this.#members?.[field];
    const at = this.#spans.keys.lastIndexOf(field);
    return at < 0 ? undefined : this.#text.slice(this.#spans.starts[at], this.#spans.ends[at]);
  }

  /** The input was put together in this process, e.g. by the router: its members need no check. */
  get internal(): boolean {
    return this.#members !== undefined;
  }

  /** The names of the members, in the order of the text. */
  get keys(): readonly string[] {
    return this.#spans?.keys ?? Object.keys(this.#members ?? {});
  }

  /** @throws TrineError `deserialization_error` naming a member that is not in `known`, and the nearest that is */
  refuseUnknown(known: ReadonlySet<string>): void {
    if (this.#spans === undefined) return;
    for (const key of this.#spans.keys) {
      if (known.has(key) || key === CALLER_KEY) continue;
      throw deserializationError(this.#functionId, unknownField(key, known));
    }
  }

  /** @throws TrineError `deserialization_error` when the member is missing */
  requiredText(field: string): string {
    const text = this.text(field);
    if (text === undefined) throw deserializationError(this.#functionId, `missing field \`${field}\``);
    return text;
  }

  /** @throws TrineError `deserialization_error` when the member is missing or not a string */
  string(field: string): string {
    const text = this.requiredText(field);
    if (text.charCodeAt(0) !== QUOTE) {
      throw deserializationError(
        this.#functionId,
        `invalid type: ${jsonKind(text)}, expected a string at \`${field}\``,
      );
    }
    return text.includes('\\') ? (JSON.parse(text) as string) : ownText(text.slice(1, -1), this.#text.length);
  }
}

/** The words for a field that nobody knows, with the nearest one that is known. */
export function unknownField(key: string, known: Iterable<string>): string {
  const names = [...known];
  // `delay` for `delay_ms` is further than a slip of the finger, and as likely.
  const nearest = names.find((name) => name.startsWith(`${key}_`)) ?? nearestName(key, names);
  return `unknown field \`${key}\`${nearest === undefined ? '' : `: did you mean \`${nearest}\`?`}`;
}

const QUOTE = 0x22;

export type JsonKind = 'null' | 'boolean' | 'number' | 'string' | 'array' | 'object';

/** What a valid JSON text without surrounding white space is. */
export function jsonKind(text: string): JsonKind {
  switch (text.charCodeAt(0)) {
    case 0x7b:
      return 'object';
    case 0x5b:
      return 'array';
    case QUOTE:
      return 'string';
    case 0x74:
    case 0x66:
      return 'boolean';
    case 0x6e:
      return 'null';
    default:
      return 'number';
  }
}
