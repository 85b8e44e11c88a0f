/** Runs many seeds and tells what came of them. */
import { SimDatabase } from './database.js';
import { Scenario, type Databases, type Sabotage } from './scenario.js';

/** Things that the scheduler lets happen in one run. */
const STEPS = 110;
/** Failures after which a run of many seeds ends. */
const MAX_FAILURES = 5;

export interface Simulation {
  readonly seeds: number;
  readonly seconds: number;
  /** The first seed. */
  readonly from?: number;
  readonly sabotage?: Sabotage;
  readonly maxFailures?: number;
}

export interface SimulationReport {
  readonly ran: number;
  readonly failures: readonly { readonly seed: number; readonly error: Error }[];
  readonly text: string;
}

export function newDatabases(): Databases {
  return { main: new SimDatabase(), volatile: new SimDatabase() };
}

/** @param trace - gets what happened, line by line */
export async function simulateOne(
  seed: number,
  databases: Databases,
  sabotage: Sabotage = {},
  trace?: string[],
): Promise<Error | undefined> {
  try {
    await new Scenario(seed, databases, sabotage, trace).run(STEPS);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

export async function simulate({
  seeds,
  seconds,
  from = 1,
  sabotage,
  maxFailures = MAX_FAILURES,
}: Simulation): Promise<SimulationReport> {
  const databases = newDatabases();
  const started = performance.now();
  const failures: { seed: number; error: Error }[] = [];
  let ran = 0;
  while (ran < seeds && performance.now() - started < seconds * 1_000 && failures.length < maxFailures) {
    const seed = from + ran++;
    const error = await simulateOne(seed, databases, sabotage);
    if (error !== undefined) failures.push({ seed, error });
  }
  const tookS = (performance.now() - started) / 1_000;
  const lines = [
    `simulation: ${ran} seeds from ${from} in ${tookS.toFixed(1)} s (${(ran / tookS).toFixed(0)} per second)`,
  ];
  for (const { seed, error } of failures)
    lines.push(`seed ${seed}: ${error.message} (repeat with TRINE_SEED=${seed} pnpm test:simulation)`);
  return { ran, failures, text: lines.join('\n') };
}
