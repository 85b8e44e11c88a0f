/**
 * Questions about a JSON text that is known to be valid, answered without parsing it: values are kept
 * as they were sent (`1.0` stays `1.0`), so nothing here makes a JavaScript value of them.
 */
const QUOTE = 0x22;
const COMMA = 0x2c;
const LBRACKET = 0x5b;
const BACKSLASH = 0x5c;
const RBRACKET = 0x5d;
const LBRACE = 0x7b;
const RBRACE = 0x7d;
const SPACE = 0x20;

/** How deep objects and arrays are nested: 0 for a scalar, 1 for `{}` or `[]`. */
export function nestingDepth(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === QUOTE) i = stringEnd(text, i) - 1;
    else if (c === LBRACE || c === LBRACKET) deepest = Math.max(deepest, ++depth);
    else if (c === RBRACE || c === RBRACKET) depth--;
  }
  return deepest;
}

/** The raw texts of an array's elements. */
export function elementTexts(array: string): string[] {
  const elements: string[] = [];
  let depth = 0;
  let from = 1;
  for (let i = 1; i < array.length; i++) {
    const c = array.charCodeAt(i);
    if (c === QUOTE) {
      i = stringEnd(array, i) - 1;
    } else if (depth === 0 && (c === COMMA || c === RBRACKET)) {
      const element = array.slice(from, i).trim();
      if (element !== '') elements.push(element);
      from = i + 1;
    } else if (c === LBRACE || c === LBRACKET) {
      depth++;
    } else if (c === RBRACE || c === RBRACKET) {
      depth--;
    }
  }
  return elements;
}

/** The array with one more element at its end. */
export function pushElement(array: string, element: string): string {
  const inner = array.slice(1, -1);
  return /\S/.test(inner) ? `[${inner},${element}]` : `[${element}]`;
}

/** Two string literals as one. */
export function concatStrings(first: string, second: string): string {
  return first.slice(0, -1) + second.slice(1);
}

/**
 * Size of the text as compact JSON in UTF-8 bytes: white space between tokens does not count, and an
 * escape counts as what it stands for wherever JSON allows that to be written plainly.
 */
export function compactBytes(text: string): number {
  let bytes = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (inString && c === BACKSLASH) {
      if (text.charCodeAt(i + 1) === 0x75) {
        bytes += escapedBytes(parseInt(text.slice(i + 2, i + 6), 16));
        i += 5;
      } else {
        bytes += text.charCodeAt(i + 1) === 0x2f ? 1 : 2;
        i += 1;
      }
    } else {
      if (c === QUOTE) inString = !inString;
      if (inString || c > SPACE) bytes += plainBytes(c);
    }
  }
  return bytes;
}

/** UTF-8 bytes of one UTF-16 unit; half of a surrogate pair counts for half of its four bytes. */
function plainBytes(unit: number): number {
  if (unit < 0x80) return 1;
  if (unit < 0x800) return 2;
  return unit >= 0xd800 && unit < 0xe000 ? 2 : 3;
}

/** Bytes of a character that was written as `\uXXXX`, in its shortest form. */
function escapedBytes(unit: number): number {
  if (unit === QUOTE || unit === BACKSLASH) return 2;
  if (unit >= SPACE) return plainBytes(unit);
  return SHORT_ESCAPES.has(unit) ? 2 : 6;
}

/** Backspace, tab, line feed, form feed, carriage return. */
const SHORT_ESCAPES = new Set([0x08, 0x09, 0x0a, 0x0c, 0x0d]);

/** Offset after the closing quote of the string that starts at `from`. */
function stringEnd(text: string, from: number): number {
  for (let i = from + 1; ; i++) {
    const c = text.charCodeAt(i);
    if (c === BACKSLASH) i++;
    else if (c === QUOTE) return i + 1;
  }
}
