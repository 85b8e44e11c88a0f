/** Numbers that a parse and print would change: 16 or more digits, and fractions that end in zero. */
const FRAGILE_NUMBER = /\d{16}|\d\.\d*0(?![\d.])/;

/** Might `JSON.stringify(JSON.parse(text))` change a number? True also for such digits inside strings. */
export function hasFragileNumbers(text: string): boolean {
  return FRAGILE_NUMBER.test(text);
}

/** A JSON text without white space between its tokens. */
export function compactJson(text: string): string {
  let compact = '';
  let from = 0;
  while (from < text.length) {
    const quote = text.indexOf('"', from);
    compact += text.slice(from, quote < 0 ? text.length : quote).replace(/[ \t\n\r]+/g, '');
    if (quote < 0) break;
    from = endOfString(text, quote + 1);
    compact += text.slice(quote, from);
  }
  return compact;
}

/** @param from - the first character after the opening quote */
function endOfString(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 92) i++;
    else if (c === 34) return i + 1;
  }
  return text.length;
}
