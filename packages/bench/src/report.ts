import type { Machine } from './machine.js';
import { IDLE_TARGET_MIB, type IdleResult } from './idle-workers.js';
import { JOB_START_TARGET_MICROS, type JobStartResult } from './job-start.js';
import { SIDES, type Goal, type RowResult, type SideResult } from './measure.js';
import { MILLION_START_TARGET_MS, MILLION_TARGET_MIB, type MillionResult } from './million-jobs.js';
import { rivalsTable, type RivalsResult } from './rivals/index.js';
import type { Row } from './rows.js';
import type { StartUpResult } from './start-up.js';

export interface Report {
  readonly machine: Machine;
  readonly seconds: number;
  readonly rounds: number;
  readonly seed: number;
  readonly rows: readonly RowResult[];
  readonly startUp: StartUpResult | undefined;
  readonly idle: IdleResult | undefined;
  readonly jobStart: JobStartResult | undefined;
  readonly million: MillionResult | undefined;
  readonly rivals: RivalsResult | undefined;
}

/** One line per row, for the terminal while the run goes on. */
export function line(row: Row, { sides, goals }: RowResult): string {
  const parts = [row.title.padEnd(50)];
  for (const name of SIDES) {
    const side = sides[name];
    if (side !== undefined) {
      parts.push(`${name} ${speed(side)} (${side.cpuMicros.toFixed(1)} us CPU, ${mebibytes(side.rssAfterBytes)})`);
    }
  }
  for (const goal of goals) parts.push(`${goalText(goal)}${goal.met ? '' : ' MISSED'}`);
  return parts.join('  ');
}

function speed({ rate, latencyMicros }: SideResult): string {
  return latencyMicros === undefined ? `${thousands(rate)}/s` : `${Math.round(latencyMicros)} us`;
}

/** `at least 0.64 of plain: 0.9`, and the like. */
function goalText({ kind, target, reached }: Goal): string {
  if (kind === 'rate') return `${thousands(reached)}/s (>= ${thousands(target)})`;
  const what = { plain: 'of plain', corked: 'of corked', cpu: 'x CPU of corked', latency: 'x time of corked' }[kind];
  const bound = kind === 'plain' || kind === 'corked' ? '>=' : '<=';
  return `${reached.toFixed(2)} ${what} (${bound} ${target})`;
}

export function startUpLine({ floor, engine }: StartUpResult): string {
  return `${'Start to listening'.padEnd(50)}  floor ${startUpText(floor)}  engine ${startUpText(engine)}`;
}

function startUpText(side: StartUpResult['floor']): string {
  return `${Math.round(side.listeningMs)} ms (${mebibytes(side.rssIdleBytes)} idle)`;
}

/** The measured part of docs/performance.md. */
export function markdown(rows: readonly Row[], report: Report): string {
  const { machine, startUp, idle, jobStart, million, rivals } = report;
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
    ...(idle === undefined ? [] : ['', idleLine(idle)]),
    ...(jobStart === undefined ? [] : ['', jobStartLine(jobStart)]),
    ...(million === undefined ? [] : ['', millionLine(million)]),
    ...(rivals === undefined ? [] : ['', rivalsTable(rivals)]),
  ].join('\n');
}

function markdownTable(rows: readonly Row[], results: readonly RowResult[]): string {
  const lines = [
    '| Work | Floor | Plain floor | Corked floor | Trine | Reached (to reach) | CPU per operation, plain / corked / Trine | RSS idle / after |',
    '|---|---|--:|--:|--:|---|--:|--:|',
  ];
  for (const row of rows) {
    const result = results.find((candidate) => candidate.name === row.name);
    const { plain, corked, engine } = result?.sides ?? {};
    if (result === undefined || plain === undefined || corked === undefined || engine === undefined) continue;
    const shares =
      result.goals.length > 0
        ? result.goals.map((goal) => `${goalText(goal)}${goal.met ? '' : ' **missed**'}`).join('; ')
        : `${(engine.rate / plain.rate).toFixed(2)} of plain`;
    lines.push(
      `| ${row.title} (${row.unit}) | ${row.floorTitle} | ${speed(plain)} | ${speed(corked)} | ${speed(engine)} | ${shares} ` +
        `| ${plain.cpuMicros.toFixed(1)} / ${corked.cpuMicros.toFixed(1)} / ${engine.cpuMicros.toFixed(1)} us ` +
        `| ${mebibytes(engine.rssIdleBytes)} / ${mebibytes(engine.rssAfterBytes)} |`,
    );
  }
  return lines.join('\n');
}

export function idleLine({ workers, rssEmptyBytes, rssBytes }: IdleResult): string {
  const met = rssBytes <= IDLE_TARGET_MIB * 2 ** 20;
  return (
    `${thousands(workers)} idle workers: ${mebibytes(rssBytes)} resident (<= ${IDLE_TARGET_MIB} MiB${met ? '' : ', missed'}), ` +
    `${mebibytes(rssEmptyBytes)} without them.`
  );
}

export function jobStartLine({ enqueueMicros, startMicros }: JobStartResult): string {
  const beyond = startMicros - enqueueMicros;
  return (
    `Start of a job on an idle engine: acknowledged after ${Math.round(enqueueMicros)} us, its handler starts after ` +
    `${Math.round(startMicros)} us: ${Math.round(beyond)} us beyond the enqueue ` +
    `(<= ${thousands(JOB_START_TARGET_MICROS)} us${beyond <= JOB_START_TARGET_MICROS ? '' : ', **missed**'}).`
  );
}

export function millionLine(result: MillionResult): string {
  const { jobs, rssBeforeBytes, rssWaitingBytes, enqueueSeconds, startMs, rssStartedBytes } = result;
  const grown = rssWaitingBytes - rssBeforeBytes;
  const memoryMet = grown <= MILLION_TARGET_MIB * 2 ** 20;
  const startMet = startMs <= MILLION_START_TARGET_MS;
  return (
    `${thousands(jobs)} waiting jobs (enqueued in ${enqueueSeconds.toFixed(0)} s): ${mebibytes(rssWaitingBytes)} resident, ` +
    `${mebibytes(grown)} more than with 10,000 (<= ${MILLION_TARGET_MIB} MiB${memoryMet ? '' : ', **missed**'}); a start with them ` +
    `takes ${Math.round(startMs)} ms (<= ${thousands(MILLION_START_TARGET_MS)} ms${startMet ? '' : ', **missed**'}) and ${mebibytes(rssStartedBytes)}.`
  );
}

export function thousands(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

export function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
