import type { RowResult } from './measure.js';
import type { Row } from './rows.js';

/** One line per row, for the terminal while the run goes on. */
export function line(row: Row, result: RowResult): string {
  const parts = [row.title.padEnd(50)];
  for (const [name, side] of [
    ['floor', result.floor],
    ['engine', result.engine],
  ] as const) {
    if (side !== undefined) {
      parts.push(
        `${name} ${thousands(side.rate)}/s (${side.cpuMicros.toFixed(1)} us CPU, ${mebibytes(side.rssAfterBytes)})`,
      );
    }
  }
  if (result.ratio !== undefined) parts.push(`ratio ${result.ratio.toFixed(2)}${verdict(result)}`);
  return parts.join('  ');
}

function verdict({ ratio, target }: RowResult): string {
  if (ratio === undefined || target === undefined) return '';
  return ratio > target ? ` (> ${target})` : ` (MISSES > ${target})`;
}

/** The table of docs/performance.md. */
export function markdownTable(rows: readonly Row[], results: readonly RowResult[]): string {
  const lines = [
    '| Work | Floor | Floor/s | Trine/s | Share | To reach | CPU per operation, floor / Trine | RSS idle / after |',
    '|---|---|--:|--:|--:|--:|--:|--:|',
  ];
  for (const row of rows) {
    const result = results.find((candidate) => candidate.name === row.name);
    const { floor, engine } = result ?? {};
    if (result?.ratio === undefined || floor === undefined || engine === undefined) continue;
    lines.push(
      `| ${row.title} (${row.unit}) | ${row.floorTitle} | ${thousands(floor.rate)} | ${thousands(engine.rate)} ` +
        `| ${result.ratio.toFixed(2)} | ${row.target === undefined ? '' : `> ${row.target}`} ` +
        `| ${floor.cpuMicros.toFixed(1)} / ${engine.cpuMicros.toFixed(1)} us ` +
        `| ${mebibytes(engine.rssIdleBytes)} / ${mebibytes(engine.rssAfterBytes)} |`,
    );
  }
  return lines.join('\n');
}

export function thousands(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

export function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
