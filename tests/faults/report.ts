import { appendFileSync } from 'node:fs';

/** One run of a fault test that went well. */
export interface FaultRun {
  /** Name of the test, e.g. `engine killed under load`. */
  readonly test: string;
  readonly seed: number;
  /** What was done and seen, by name. */
  readonly counts: Readonly<Record<string, number>>;
}

/**
 * Prints what a fault test did. Where `pnpm test:faults` asks for it (`TRINE_FAULT_REPORT` names a file)
 * it is written down as well, as a line of JSON.
 */
export function reportRun(run: FaultRun): void {
  console.log(`${run.test}: ${countsText(run.counts)} (seed ${run.seed})`);
  const file = process.env['TRINE_FAULT_REPORT'];
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(run)}\n`);
}

/** `20 kills, 4,310 jobs` */
export function countsText(counts: FaultRun['counts']): string {
  return Object.entries(counts)
    .map(([name, count]) => `${count.toLocaleString('en')} ${name}`)
    .join(', ');
}

type SizeVariable = 'TRINE_KILLS' | 'TRINE_GROUPS' | 'TRINE_STOPS' | 'TRINE_POWER_CUTS' | 'TRINE_DAMAGES';

/** How often or how many, from the environment that `pnpm test:faults` sets. */
export function sizeOf(variable: SizeVariable, inCi: number): number {
  return Number(process.env[variable] ?? inCi);
}
