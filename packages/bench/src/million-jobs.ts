/**
 * A million jobs that wait, for a function that nobody serves: what they cost in memory, and how fast
 * an engine starts with them.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CallLoad } from './load/calls.js';
import { JOB } from './load/jobs.js';
import { randomPayload, seededRandom } from './random.js';
import { Target, type TargetOptions } from './target.js';
import { PAYLOAD_BYTES } from './wire.js';

export const WAITING_JOBS = 1_000_000;
/** Most memory that they may cost, in MiB. */
export const MILLION_TARGET_MIB = 100;
/** Longest start with them, in milliseconds. */
export const MILLION_START_TARGET_MS = 2_000;

export interface MillionResult {
  readonly jobs: number;
  readonly rssBeforeBytes: number;
  readonly rssWaitingBytes: number;
  readonly enqueueSeconds: number;
  /** From spawning the process to its first accepted connection, and its memory after it. */
  readonly startMs: number;
  readonly rssStartedBytes: number;
}

/** Sent and awaited at a time. */
const PORTION = 10_000;
/** Long enough for garbage of the enqueues to be collected, in milliseconds. */
const QUIET_MS = 5_000;

export async function measureMillion(seed: number): Promise<MillionResult> {
  const cwd = mkdtempSync(join(tmpdir(), 'trine-bench-million-'));
  const config = {
    workers: [
      { name: 'iii-worker-manager', config: { host: '127.0.0.1', port: 0 } },
      { name: 'iii-queue', config: { queue_configs: { bench: { type: 'standard' } } } },
    ],
  };
  const options: TargetOptions = { entry: './engine-process.js', args: [JSON.stringify(config)], cwd };
  let target = await Target.start(options);
  try {
    const payload = randomPayload(seededRandom(seed), PAYLOAD_BYTES);
    const open = (): Promise<CallLoad> =>
      CallLoad.open(target.url, {
        functionId: JOB,
        data: () => payload,
        action: '{"type":"enqueue","queue":"bench"}',
      });
    let load = await open();
    // What the first jobs bring along (compiled code, prepared statements) is not the price of waiting ones.
    await load.prepare(PORTION);
    await quiet();
    const rssBeforeBytes = target.rssBytes();
    const from = performance.now();
    for (let sent = PORTION; sent < WAITING_JOBS; sent += PORTION) await load.prepare(PORTION);
    const enqueueSeconds = (performance.now() - from) / 1_000;
    if (load.faults.count > 0) throw new Error(`an enqueue failed: ${load.faults.first}`);
    await load.close();
    await quiet();
    const rssWaitingBytes = target.rssBytes();
    await target.stop();

    const startedAt = performance.now();
    target = await Target.start(options);
    const startMs = performance.now() - startedAt;
    load = await open();
    await load.prepare(1);
    await load.close();
    await quiet();
    const rssStartedBytes = target.rssBytes();
    return { jobs: WAITING_JOBS, rssBeforeBytes, rssWaitingBytes, enqueueSeconds, startMs, rssStartedBytes };
  } finally {
    await target.stop();
    rmSync(cwd, { recursive: true, force: true });
  }
}

function quiet(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, QUIET_MS));
}
