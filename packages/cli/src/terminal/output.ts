/**
 * Where text goes: stdout carries results that programs read, stderr everything for people.
 */
import pc from 'picocolors';

const coloured =
  process.stderr.isTTY === true && process.env['NO_COLOR'] === undefined && process.env['TERM'] !== 'dumb';

/** Colours for text on stderr; plain functions when stderr is no terminal. */
export const colors = pc.createColors(coloured);

/** Writes one line for people. */
export function say(line = ''): void {
  process.stderr.write(`${line}\n`);
}

/** Writes a result for programs, as it is. */
export function print(text: string): void {
  process.stdout.write(text);
}

/** Ends quietly when the reader of a pipe has gone (`iii trigger ... | head -1`). */
export function surviveClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(0);
      throw error;
    });
  }
}

/** Text from a worker, safe to show in a terminal: without control and bidirectional characters. */
export function harmless(text: string): string {
  return text
    .replace(/\s+/gu, ' ')
    .replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu, '')
    .trim();
}

/** Rows as aligned columns; the last one is not padded. */
export function columns(rows: readonly (readonly string[])[], gap = '  '): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)))
      .join(gap)
      .trimEnd(),
  );
}
