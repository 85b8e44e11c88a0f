/**
 * `pnpm test:simulation [--seeds N] [--seconds N] [--from SEED] [--seed SEED]`: the simulation at any
 * length, or one seed (also `TRINE_SEED`) with all that happened in it.
 */
import { parseArgs } from 'node:util';
import { newDatabases, simulate, simulateOne } from './simulate.js';

const tell = (line: string): void => void process.stdout.write(`${line}\n`);
const text = { type: 'string' } as const;
const { values } = parseArgs({ options: { seeds: text, seconds: text, seed: text, from: text } });
const seed = values.seed ?? process.env['TRINE_SEED'];
if (seed !== undefined) {
  const trace: string[] = [];
  const failure = await simulateOne(Number(seed), newDatabases(), {}, trace);
  for (const line of trace) tell(line);
  tell(
    failure === undefined ? `seed ${seed}: nothing was violated` : `seed ${seed}: ${failure.stack ?? failure.message}`,
  );
  process.exitCode = failure === undefined ? 0 : 1;
} else {
  const report = await simulate({
    seeds: Number(values.seeds ?? 10_000),
    seconds: Number(values.seconds ?? Infinity),
    from: Number(values.from ?? 1),
  });
  tell(report.text);
  process.exitCode = report.failures.length === 0 ? 0 : 1;
}
