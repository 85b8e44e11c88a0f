import { countsText, type FaultRun } from './report.js';

export interface DatedRun extends FaultRun {
  /** `2026-03-01` */
  readonly date: string;
}

const BEGIN = '<!-- runs: begin (written by `pnpm test:faults`) -->';
const END = '<!-- runs: end -->';
const HEAD = ['| Test | Date | Seed | What was done |', '| --- | --- | --- | --- |'];

/**
 * The page with these runs in its table: each replaces the one of the same test, the others stay.
 *
 * @throws Error when the page has no marks around its table
 */
export function withRuns(page: string, runs: readonly DatedRun[]): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`docs/reliability.md has no table between '${BEGIN}' and '${END}'`);
  const rows = new Map<string, string>();
  for (const line of page.slice(begin + BEGIN.length, end).split('\n')) {
    const name = line.split('|')[1]?.trim();
    if (name !== undefined && !HEAD.includes(line) && !/^(Test|-+)$/.test(name)) rows.set(name, line);
  }
  for (const { test, date, seed, counts } of runs)
    rows.set(test, `| ${test} | ${date} | ${seed} | ${countsText(counts)} |`);
  const table = [...HEAD, ...[...rows].sort(([a], [b]) => a.localeCompare(b)).map(([, row]) => row)];
  return `${page.slice(0, begin + BEGIN.length)}\n\n${table.join('\n')}\n\n${page.slice(end)}`;
}
