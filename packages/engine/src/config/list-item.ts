/** One item of a block list as lines of text: where it stands, and how it is written. */
import { isMap, type Document, type Node, type Pair, type YAMLMap } from 'yaml';

/** The lines of one list item: [start, end) in the text, and the column of its dash. */
export interface Span {
  readonly start: number;
  readonly end: number;
  readonly column: number;
}

/** Undefined where the item does not have its lines to itself. */
export function spanOf(text: string, item: unknown): Span | undefined {
  const range = (item as Node | null)?.range;
  if (!range) return undefined;
  let start = text.lastIndexOf('\n', range[0] - 1) + 1;
  let dash = /^( *)-(?=\s)/.exec(text.slice(start));
  if (dash === null && start > 0) {
    start = text.lastIndexOf('\n', start - 2) + 1;
    dash = /^( *)-[ \t]*(?=\r?\n)/.exec(text.slice(start));
  }
  if (dash === null) return undefined;
  const column = dash[1]?.length ?? 0;
  // The range ends behind the item's last line, or behind the margin of the line after it.
  const lastLine = text.lastIndexOf('\n', range[1] - 1) + 1;
  let end = lastLine > start && text.slice(lastLine, range[1]).trim() === '' ? lastLine : afterLine(text, range[1]);
  // Blank lines before the next entry are not the item's; comments indented deeper than its dash are.
  while (end > start && /\n[ \t]*\r?\n$/.test(text.slice(Math.max(0, end - 200), end)))
    end = text.lastIndexOf('\n', end - 2) + 1;
  for (let next = end; next < text.length; next = afterLine(text, next)) {
    const line = text.slice(next, afterLine(text, next));
    const comment = /^([ \t]*)#/.exec(line);
    if (comment !== null && (comment[1]?.length ?? 0) > column) end = afterLine(text, next);
    else if (line.trim() !== '') break;
  }
  return { start, end, column };
}

function afterLine(text: string, from: number): number {
  const newline = text.indexOf('\n', from);
  return newline === -1 ? text.length : newline + 1;
}

export function insertAt(text: string, at: number, lines: string): string {
  const before = text.slice(0, at);
  const newline = text.includes('\r\n') ? '\r\n' : '\n';
  return (before === '' || before.endsWith('\n') ? before : before + newline) + lines + text.slice(at);
}

/** One list item as lines, its dash in the given column. */
export function renderItem(part: Document, column: number, like: string, indent = 2): string {
  const newline = like.includes('\r\n') ? '\r\n' : '\n';
  const lines = part.toString({ lineWidth: 0, indent }).trimEnd().split('\n');
  const margin = ' '.repeat(column);
  return lines
    .map((line, index) => (index === 0 ? `${margin}- ${line}` : line === '' ? '' : `${margin}  ${line}`) + newline)
    .join('');
}

/** How far the block of an item is indented below its key, in columns. */
export function indentOf(item: YAMLMap, text: string): number {
  for (const { key, value } of item.items as Pair<Node, Node>[]) {
    const inner = isMap(value) && value.flow !== true ? (value.items[0]?.key as Node | undefined) : undefined;
    if (!inner?.range || !key.range) continue;
    const indent = columnOf(text, inner.range[0]) - columnOf(text, key.range[0]);
    if (indent >= 1 && indent <= MAX_INDENT) return indent;
  }
  return 2;
}

const MAX_INDENT = 8;

function columnOf(text: string, offset: number): number {
  return offset - (text.lastIndexOf('\n', offset - 1) + 1);
}
