/**
 * A JSON document that is parsed at most once and printed at most once.
 *
 * The router moves payloads without looking into them: what arrives as text from one socket leaves
 * as the same text on another. Raw text is kept, so `1.0` stays `1.0` and big integers stay whole.
 */
export class Payload {
  #json: string | undefined;
  #value: unknown;
  #parsed: boolean;
  /** The raw JSON of the members of an object that was put together here; else undefined. */
  readonly members: Members | undefined;

  private constructor(json: string | undefined, value: unknown, parsed: boolean, members?: Members) {
    this.#json = json;
    this.members = members;
    this.#value = value;
    this.#parsed = parsed;
  }

  /** A payload from text that is known to be valid JSON (the scanner has seen it, or we printed it). */
  static fromJson(json: string): Payload {
    return new Payload(json, undefined, false);
  }

  /** A payload from a JSON-shaped value that nobody changes afterwards. */
  static fromValue(value: unknown): Payload {
    return new Payload(undefined, value, true);
  }

  /**
   * A payload from a value of someone else's: serialised once, here, at the boundary.
   *
   * @throws TypeError when the value has no JSON form (a cycle, a BigInt)
   */
  static fromForeign(value: unknown): Payload {
    return new Payload(JSON.stringify(value) ?? 'null', undefined, false);
  }

  /**
   * An object from the raw JSON of its members. Who reads it in this process takes the members as they
   * are (`RawInput`), and it is printed only if it leaves.
   */
  static fromMembers(members: Members): Payload {
    return new Payload(undefined, undefined, false, members);
  }

  static readonly null = new Payload('null', null, true);
  static readonly emptyObject = Payload.fromJson('{}');

  /** The JSON text, printed at most once. */
  get json(): string {
    this.#json ??= this.members === undefined ? (JSON.stringify(this.#value) ?? 'null') : print(this.members);
    return this.#json;
  }

  /** The parsed value, parsed at most once. Shared by all who hold this payload: see `fork`. */
  get value(): unknown {
    if (!this.#parsed) {
      this.#value = JSON.parse(this.json);
      this.#parsed = true;
    }
    return this.#value;
  }

  /** The same document with a value of its own: what one receiver changes, no other sees. */
  fork(): Payload {
    return new Payload(this.json, undefined, false);
  }

  get isNull(): boolean {
    return this.#parsed ? this.#value === null : this.#json === 'null';
  }
}

/** Raw JSON by member name; undefined members are left out. Names are the protocol's own, never foreign. */
export type Members = Readonly<Record<string, string | undefined>>;

function print(members: Members): string {
  let text = '';
  for (const name in members) {
    const value = members[name];
    if (value !== undefined) text += `${text === '' ? '' : ','}${JSON.stringify(name)}:${value}`;
  }
  return `{${text}}`;
}
