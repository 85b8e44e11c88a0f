import type { Machine } from './machine.js';
import type { RowResult } from './measure.js';
import type { Row } from './rows.js';
import type { StartUpResult } from './start-up.js';

export interface Report {
  readonly machine: Machine;
  readonly seconds: number;
  readonly rounds: number;
  readonly seed: number;
  readonly rows: readonly RowResult[];
  readonly startUp: StartUpResult | undefined;
}

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

export function startUpLine({ floor, engine }: StartUpResult): string {
  return `${'Start to listening'.padEnd(50)}  floor ${startUpText(floor)}  engine ${startUpText(engine)}`;
}

function startUpText(side: StartUpResult['floor']): string {
  return `${Math.round(side.listeningMs)} ms (${mebibytes(side.rssIdleBytes)} idle)`;
}

/** The measured part of docs/performance.md. */
export function markdown(rows: readonly Row[], report: Report): string {
  const { machine, startUp } = report;
  return [
    `Commit ${machine.commit}, Node ${machine.node}, ${machine.cores} x ${machine.cpu}, ${machine.memoryGiB} GiB, ` +
      `${machine.system}; ${report.rounds} rounds of ${report.seconds} s a side, seed ${report.seed}.`,
    '',
    markdownTable(rows, report.rows),
    ...(startUp === undefined
      ? []
      : [
          '',
          `Start to listening: Trine ${startUpText(startUp.engine)}, a bare Node server ${startUpText(startUp.floor)}.`,
        ]),
  ].join('\n');
}

function markdownTable(rows: readonly Row[], results: readonly RowResult[]): string {
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
