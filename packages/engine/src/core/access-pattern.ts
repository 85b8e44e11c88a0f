/**
 * Patterns of access rules: `*` stands for any run of characters, everything else for itself, and the
 * whole text must fit. Time is linear in the text however many stars there are: function ids come
 * from those whom the rules are about.
 */
export class AccessPattern {
  readonly #parts: readonly string[];

  constructor(pattern: string) {
    this.#parts = pattern.split('*');
  }

  fits(text: string): boolean {
    const parts = this.#parts;
    const first = parts[0] as string;
    if (parts.length === 1) return text === first;
    const last = parts.at(-1) as string;
    if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
    let at = first.length;
    const end = text.length - last.length;
    for (let i = 1; i < parts.length - 1; i++) {
      const part = parts[i] as string;
      const found = text.indexOf(part, at);
      if (found < 0 || found + part.length > end) return false;
      at = found + part.length;
    }
    return true;
  }
}

/** The pattern inside `match("...")` or `match('...')`; undefined for any other text. */
export function patternOf(text: string): string | undefined {
  const match = /^\s*match\(\s*(?:"([^"]*)"|'([^']*)')\s*\)\s*$/.exec(text);
  return match === null ? undefined : (match[1] ?? match[2]);
}
