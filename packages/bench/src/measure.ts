/**
 * One row: the floors and the engine are started side by side and loaded in turn (plain floor, corked
 * floor, engine, plain floor, ...), so that a machine that slows down slows all. Medians of the rounds
 * are reported.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Load } from './load/load.js';
import { seededRandom } from './random.js';
import type { Row, Targets } from './rows.js';
import { Target } from './target.js';

export interface MeasureOptions {
  readonly seconds: number;
  readonly rounds: number;
  readonly seed: number;
  /** Measure one side only, for profiling. */
  readonly only: Side | undefined;
  readonly cpuProfileDir: string | undefined;
}

/** `plain`: the floor as anyone writes it first, a send per frame. `corked`: the same with one write per turn. */
export type Side = 'plain' | 'corked' | 'engine';
export const SIDES: readonly Side[] = ['plain', 'corked', 'engine'];

export interface SideResult {
  /** Operations per second, median of the rounds. */
  readonly rate: number;
  readonly rates: readonly number[];
  /** Median time of one operation in microseconds, for rows with one in flight. */
  readonly latencyMicros: number | undefined;
  /** CPU of the target per operation in microseconds, all threads, median of the rounds. */
  readonly cpuMicros: number;
  readonly rssIdleBytes: number;
  readonly rssAfterBytes: number;
}

export interface RowResult {
  readonly name: string;
  readonly sides: Readonly<Partial<Record<Side, SideResult>>>;
  readonly goals: readonly Goal[];
}

/** One target of a row, and what was reached. */
export interface Goal {
  readonly kind: keyof Targets;
  readonly target: number;
  readonly reached: number;
  readonly met: boolean;
}

/** Load before the first measured window, so that both sides run compiled code. */
const WARM_UP_MS = 1_500;
/** Load before each further window. */
const RAMP_MS = 300;

export async function measureRow(row: Row, options: MeasureOptions): Promise<RowResult> {
  const folder = mkdtempSync(join(tmpdir(), `trine-bench-${row.name}-`));
  const sides: SideRun[] = [];
  try {
    for (const name of SIDES) {
      if (options.only === undefined || options.only === name)
        sides.push(await SideRun.start(name, row, folder, options));
    }
    for (let round = 0; round < options.rounds; round++) {
      for (const side of sides) await side.round(round === 0 ? WARM_UP_MS : RAMP_MS, options.seconds * 1_000);
    }
    const results = Object.fromEntries(sides.map((side) => [side.name, side.result()]));
    return { name: row.name, sides: results, goals: goalsOf(row.targets, results) };
  } finally {
    for (const side of sides) await side.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function goalsOf(targets: Targets, { plain, corked, engine }: RowResult['sides']): Goal[] {
  const goals: Goal[] = [];
  const add = (kind: keyof Targets, reached: number | undefined, atMost = false): void => {
    const target = targets[kind];
    if (target === undefined || reached === undefined) return;
    goals.push({ kind, target, reached, met: atMost ? reached <= target : reached >= target });
  };
  if (engine === undefined) return goals;
  add('rate', engine.rate);
  if (plain !== undefined) add('plain', engine.rate / plain.rate);
  if (corked === undefined) return goals;
  add('corked', engine.rate / corked.rate);
  add('cpu', engine.cpuMicros / corked.cpuMicros, true);
  if (engine.latencyMicros !== undefined && corked.latencyMicros !== undefined)
    add('latency', engine.latencyMicros / corked.latencyMicros, true);
  return goals;
}

class SideRun {
  readonly name: Side;
  readonly #target: Target;
  readonly #load: Load;
  readonly #rssIdleBytes: number;
  readonly #rates: number[] = [];
  readonly #cpu: number[] = [];
  readonly #latencies: number[] = [];

  private constructor(name: Side, target: Target, load: Load, rssIdleBytes: number) {
    this.name = name;
    this.#target = target;
    this.#load = load;
    this.#rssIdleBytes = rssIdleBytes;
  }

  static async start(name: Side, row: Row, folder: string, options: MeasureOptions): Promise<SideRun> {
    const cwd = join(folder, name);
    mkdirSync(cwd);
    const target =
      name !== 'engine'
        ? await Target.start({ entry: './floor-process.js', args: [row.floor, '0', name], cwd })
        : await Target.start({
            entry: './engine-process.js',
            args: [JSON.stringify({ workers: [WORKER_SOCKET, ...row.workers] })],
            cwd,
            cpuProfileDir: options.cpuProfileDir,
          });
    try {
      const rssIdleBytes = target.rssBytes();
      const load = await row.load({ target, random: seededRandom(options.seed) });
      return new SideRun(name, target, load, rssIdleBytes);
    } catch (error) {
      await target.stop();
      throw error;
    }
  }

  async round(rampMs: number, windowMs: number): Promise<void> {
    const load = this.#load;
    load.start();
    await sleep(rampMs);
    if (load.latenciesMicros !== undefined) load.latenciesMicros.length = 0;
    const from = { at: performance.now(), finished: load.finished, cpu: this.#target.cpuMicros() };
    await sleep(windowMs);
    const finished = load.finished - from.finished;
    const elapsedMs = performance.now() - from.at;
    const cpu = this.#target.cpuMicros() - from.cpu;
    await load.stop();
    if (load.faults.count > 0) {
      throw new Error(`${this.name}: ${load.faults.count} operations failed, the first: ${load.faults.first}`);
    }
    this.#rates.push((finished * 1_000) / elapsedMs);
    if (load.latenciesMicros !== undefined && load.latenciesMicros.length > 0)
      this.#latencies.push(median(load.latenciesMicros));
    this.#cpu.push(cpu / Math.max(1, finished));
  }

  result(): SideResult {
    return {
      rate: median(this.#rates),
      rates: this.#rates.map((rate) => Math.round(rate)),
      latencyMicros: this.#latencies.length === 0 ? undefined : median(this.#latencies),
      cpuMicros: median(this.#cpu),
      rssIdleBytes: this.#rssIdleBytes,
      rssAfterBytes: this.#target.rssBytes(),
    };
  }

  async close(): Promise<void> {
    await this.#load.close();
    await this.#target.stop();
  }
}

const WORKER_SOCKET = { name: 'iii-worker-manager', config: { host: '127.0.0.1', port: 0 } };

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
