/** Entry of `pnpm bench`: measures the chosen rows and prints a line for each, then all as JSON. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { writeDocs } from './docs.js';
import { measureIdle } from './idle-workers.js';
import { measureJobStart } from './job-start.js';
import { machine } from './machine.js';
import { measureRow, type RowResult } from './measure.js';
import { measureMillion } from './million-jobs.js';
import { parseOptions, USAGE, type Options } from './options.js';
import { idleLine, jobStartLine, line, markdown, millionLine, startUpLine, type Report } from './report.js';
import { measureRivals, rivalsLine } from './rivals/index.js';
import { ROWS } from './rows.js';
import { measureStartUp, type StartUpResult } from './start-up.js';

const START_ROW = 'start';
const IDLE_ROW = 'idle';
const JOB_START_ROW = 'job-start';
const MILLION_ROW = 'million';
const RIVALS_ROW = 'rivals';

async function run(options: Options): Promise<number> {
  const names = [...ROWS.map((row) => row.name), START_ROW, IDLE_ROW, JOB_START_ROW, MILLION_ROW, RIVALS_ROW];
  const unknown = options.rows.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`no row is called "${unknown}"; there are: ${names.join(', ')}`);
  const wanted = (name: string): boolean => options.rows.length === 0 || options.rows.includes(name);
  const cpuProfileDir = options.cpuProfileDir === undefined ? undefined : resolve(options.cpuProfileDir);
  if (cpuProfileDir !== undefined) mkdirSync(cpuProfileDir, { recursive: true });

  let failed = 0;
  const attempt = async <T>(
    title: string,
    work: () => Promise<T>,
    show: (result: T) => string,
  ): Promise<T | undefined> => {
    try {
      const result = await work();
      console.error(show(result));
      return result;
    } catch (error) {
      failed++;
      console.error(`${title}: ${(error as Error).message}`);
      return undefined;
    }
  };

  const rows: RowResult[] = [];
  for (const row of ROWS.filter(({ name }) => wanted(name))) {
    const measure = (): Promise<RowResult> => measureRow(row, { ...options, cpuProfileDir });
    const result = await attempt(row.title, measure, (measured) => line(row, measured));
    if (result !== undefined) rows.push(result);
  }
  let startUp: StartUpResult | undefined;
  if (wanted(START_ROW)) {
    startUp = await attempt('Start to listening', () => measureStartUp(options.rounds), startUpLine);
  }

  const idle = wanted(IDLE_ROW) ? await attempt('Idle workers', measureIdle, idleLine) : undefined;

  const jobStart = wanted(JOB_START_ROW) ? await attempt('Start of a job', measureJobStart, jobStartLine) : undefined;
  const { seconds, rounds, seed } = options;
  const million = wanted(MILLION_ROW)
    ? await attempt('Waiting jobs', () => measureMillion(seed), millionLine)
    : undefined;
  const rivals = wanted(RIVALS_ROW)
    ? await attempt('Other queues', () => measureRivals(seconds, seed, console.error), rivalsLine)
    : undefined;

  const report: Report = {
    machine: machine(),
    seconds,
    rounds,
    seed,
    rows,
    startUp,
    idle,
    jobStart,
    million,
    rivals,
  };
  const json = JSON.stringify(report, undefined, 2);
  if (options.json !== undefined) writeFileSync(options.json, `${json}\n`);
  console.log(json);
  if (options.writeDocs) {
    if (failed > 0 || options.rows.length > 0 || options.only !== undefined) {
      throw new Error(
        '--write-docs wants a whole run, both sides, without a failure: docs/performance.md is unchanged',
      );
    }
    console.error(`written: ${writeDocs(markdown(ROWS, report))}`);
  }
  return failed > 0 ? 1 : 0;
}

try {
  const options = parseOptions(process.argv.slice(2));
  if (options.help) console.log(USAGE);
  else process.exitCode = await run(options);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
