/** Entry of `pnpm bench`: measures the chosen rows and prints a line for each, then all as JSON. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { machine } from './machine.js';
import { measureRow, type RowResult } from './measure.js';
import { parseOptions, USAGE, type Options } from './options.js';
import { line } from './report.js';
import { ROWS } from './rows.js';

async function run(options: Options): Promise<number> {
  const unknown = options.rows.find((name) => !ROWS.some((row) => row.name === name));
  if (unknown !== undefined) {
    console.error(`no row is called "${unknown}"; there are: ${ROWS.map((row) => row.name).join(', ')}`);
    return 1;
  }
  const cpuProfileDir = options.cpuProfileDir === undefined ? undefined : resolve(options.cpuProfileDir);
  if (cpuProfileDir !== undefined) mkdirSync(cpuProfileDir, { recursive: true });

  const results: RowResult[] = [];
  let failed = 0;
  for (const row of ROWS.filter(({ name }) => options.rows.length === 0 || options.rows.includes(name))) {
    try {
      const result = await measureRow(row, { ...options, cpuProfileDir });
      results.push(result);
      console.error(line(row, result));
    } catch (error) {
      failed++;
      console.error(`${row.title}: ${(error as Error).message}`);
    }
  }
  const { seconds, rounds, seed } = options;
  const report = JSON.stringify({ machine: machine(), seconds, rounds, seed, rows: results }, undefined, 2);
  if (options.json !== undefined) writeFileSync(options.json, `${report}\n`);
  console.log(report);
  return failed > 0 ? 1 : 0;
}

try {
  const options = parseOptions(process.argv.slice(2));
  if (options.help) console.log(USAGE);
  else process.exitCode = await run(options);
} catch (error) {
  console.error(`${(error as Error).message}\n\n${USAGE}`);
  process.exitCode = 1;
}
