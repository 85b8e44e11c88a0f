/** Writes the measured table into docs/performance.md, between its two markers. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const FILE = fileURLToPath(new URL('../../../docs/performance.md', import.meta.url));
const BEGIN = '<!-- measured: begin (written by pnpm bench --write-docs) -->';
const END = '<!-- measured: end -->';

/** @throws Error when the markers are not there */
export function writeDocs(measured: string): string {
  const text = readFileSync(FILE, 'utf8');
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${FILE} lacks the lines "${BEGIN}" and "${END}"`);
  writeFileSync(FILE, `${text.slice(0, begin + BEGIN.length)}\n\n${measured}\n\n${text.slice(end)}`);
  return FILE;
}
