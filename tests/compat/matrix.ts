/** The page that tells which client does what: written from a run, never by hand. */
import type { Client } from './clients.js';
import type { Cells } from './compat-run.js';
import type { Feature } from './features/index.js';

/** Which part of the page: of every run, or of a run with `--all`. */
export type Part = 'each run' | 'on demand';

const begin = (part: Part): string => `<!-- begin: ${part} -->`;
const end = (part: Part): string => `<!-- end: ${part} -->`;

/** A table of clients and features, and why some cells are empty. */
export function matrix(clients: readonly Client[], features: readonly Feature[], cells: Cells): string {
  const reasons: string[] = [];
  const rows = features.map((feature) => {
    const states = clients.map((client) => {
      const cell = cells.get(client.name)?.get(feature.id);
      if (cell === undefined || cell.state === 'failed') return '**no**';
      if (cell.state === 'passed') return 'yes';
      if (!reasons.includes(cell.reason)) reasons.push(cell.reason);
      return `– [${reasons.indexOf(cell.reason) + 1}]`;
    });
    return [feature.title, ...states];
  });
  const table = aligned([['', ...clients.map(({ title }) => title)], ...rows]);
  const notes = reasons.map((reason, at) => `${at + 1}. ${reason}`);
  return [...table, '', 'Not in this client:', '', ...notes].join('\n');
}

/** The titles of the clients and features that a part of the page tells of. */
export function shownIn(page: string, part: Part): { readonly clients: string[]; readonly features: string[] } {
  const rows = page
    .slice(page.indexOf(begin(part)), page.indexOf(end(part)))
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| -'))
    .map((line) => line.split('|').map((cell) => cell.trim()));
  return { clients: (rows[0] ?? []).slice(2, -1), features: rows.slice(1).map((row) => row[1] ?? '') };
}

/** The page with one of its parts replaced. */
export function withPart(page: string, part: Part, text: string): string {
  const from = page.indexOf(begin(part));
  const to = page.indexOf(end(part));
  if (from < 0 || to < from)
    throw new Error(`the page has no part '${part}': it needs ${begin(part)} and ${end(part)}`);
  return `${page.slice(0, from + begin(part).length)}\n\n${text}\n\n${page.slice(to)}`;
}

/** Rows of a Markdown table, with its columns as wide as prettier makes them. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const [head = [], ...body] = rows;
  return [line(head), `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...body.map(line)];
}
