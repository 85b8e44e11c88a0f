/**
 * Prints JSON for people and for `jq`: two spaces of indent, keys sorted by their bytes (UTF-8),
 * numbers exactly as they were sent. Works on the text, since a parsed number would lose `1.0` and
 * the end of a big integer, and a parsed object would put `"10"` behind `"9"`.
 */

const SPACE = /[ \t\n\r]*/y;
const SCALAR = /[^\s,\]}]+/y;
const INDENT = '  ';

/**
 * @param json - a valid JSON text (checked by whoever received it)
 * @returns the document without a trailing newline
 * @example prettySorted('{"b":1.0,"a":[]}') // '{\n  "a": [],\n  "b": 1.0\n}'
 */
export function prettySorted(json: string): string {
  return printValue(new Reader(json), '');
}

class Reader {
  #at = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The next character that is no space, not consumed. */
  peek(): string {
    this.#at = this.#endOf(SPACE);
    return this.#text.charAt(this.#at);
  }

  /** Consumes the next character if it is this one. */
  take(character: string): boolean {
    if (this.peek() !== character) return false;
    this.#at++;
    return true;
  }

  /** The next number, `true`, `false` or `null`. */
  scalar(): string {
    this.peek();
    return this.#cut(this.#endOf(SCALAR));
  }

  /** The next string literal with its quotes. A loop, since a pattern overflows on megabytes of escapes. */
  string(): string {
    this.peek();
    let end = this.#at + 1;
    for (;;) {
      const quote = this.#text.indexOf('"', end);
      if (quote < 0) throw new SyntaxError(`string without an end at position ${this.#at}`);
      let slashes = 0;
      while (this.#text.charAt(quote - 1 - slashes) === '\\') slashes++;
      end = quote + 1;
      if (slashes % 2 === 0) return this.#cut(end);
    }
  }

  #cut(end: number): string {
    if (end === this.#at) throw new SyntaxError(`not JSON at position ${this.#at}`);
    const text = this.#text.slice(this.#at, end);
    this.#at = end;
    return text;
  }

  #endOf(pattern: RegExp): number {
    pattern.lastIndex = this.#at;
    return pattern.test(this.#text) ? pattern.lastIndex : this.#at;
  }
}

function printValue(reader: Reader, indent: string): string {
  switch (reader.peek()) {
    case '{':
      return printObject(reader, indent);
    case '[':
      return printArray(reader, indent);
    case '"':
      return normalise(reader.string());
    default:
      return reader.scalar();
  }
}

function printObject(reader: Reader, indent: string): string {
  reader.take('{');
  const members = new Map<string, string>();
  const inner = indent + INDENT;
  while (!reader.take('}')) {
    const key = JSON.parse(reader.string()) as string;
    reader.take(':');
    members.set(key, printValue(reader, inner));
    reader.take(',');
  }
  if (members.size === 0) return '{}';
  const lines = [...members.keys()]
    .sort(byBytes)
    .map((key) => `${inner}${JSON.stringify(key)}: ${members.get(key) ?? ''}`);
  return `{\n${lines.join(',\n')}\n${indent}}`;
}

function printArray(reader: Reader, indent: string): string {
  reader.take('[');
  const inner = indent + INDENT;
  const items: string[] = [];
  while (!reader.take(']')) {
    items.push(inner + printValue(reader, inner));
    reader.take(',');
  }
  return items.length === 0 ? '[]' : `[\n${items.join(',\n')}\n${indent}]`;
}

/** One spelling per string: `\u00e9` and `\/` are printed as the characters they stand for. */
function normalise(literal: string): string {
  return literal.includes('\\') ? JSON.stringify(JSON.parse(literal)) : literal;
}

/** Order of the UTF-8 bytes; JavaScript's own order differs above U+FFFF. */
export function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
