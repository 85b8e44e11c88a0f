/**
 * How soon a job runs on an engine that has nothing else to do: the time from its acknowledgement to
 * the start of its handler. Without polling that is next to nothing.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from './corked-socket.js';
import { connectEchoWorker } from './load/echo-worker.js';
import { JOB } from './load/jobs.js';
import { untilCallable } from './load/probe.js';
import { median } from './measure.js';
import { Target } from './target.js';
import { callFrame, invocationId, kindOf } from './wire.js';

export interface JobStartResult {
  /** Median time from sending the enqueue to its acknowledgement. */
  readonly enqueueMicros: number;
  /** Median time from sending the enqueue to the start of the handler. */
  readonly startMicros: number;
}

/** Most time beyond the enqueue itself, in microseconds. */
export const JOB_START_TARGET_MICROS = 1_000;
const JOBS = 500;
/** Between two jobs, so that each finds an idle engine, in milliseconds. */
const PAUSE_MS = 3;

export async function measureJobStart(): Promise<JobStartResult> {
  const cwd = mkdtempSync(join(tmpdir(), 'trine-bench-job-start-'));
  const config = {
    workers: [
      { name: 'iii-worker-manager', config: { host: '127.0.0.1', port: 0 } },
      { name: 'iii-queue', config: { queue_configs: { bench: { type: 'standard' } } } },
    ],
  };
  const target = await Target.start({ entry: './engine-process.js', args: [JSON.stringify(config)], cwd });
  try {
    let started: () => void = () => undefined;
    let acknowledged: () => void = () => undefined;
    const worker = await connectEchoWorker(target.url, [JOB], 'null', () => started());
    const client = await connect(target.url, (frame) => {
      if (kindOf(frame) === 'invocationresult') acknowledged();
    });
    await untilCallable(target.url, JOB, '{}');
    const enqueues: number[] = [];
    const starts: number[] = [];
    for (let n = 0; n < JOBS; n++) {
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      const from = performance.now();
      const both = [
        new Promise<number>((resolve) => (acknowledged = () => resolve(performance.now()))),
        new Promise<number>((resolve) => (started = () => resolve(performance.now()))),
      ] as const;
      client.send(callFrame(invocationId(n), JOB, '{"n":1}', '{"type":"enqueue","queue":"bench"}'));
      const [acknowledgedAt, startedAt] = await Promise.all(both);
      enqueues.push((acknowledgedAt - from) * 1_000);
      starts.push((startedAt - from) * 1_000);
    }
    await client.close();
    await worker.close();
    return { enqueueMicros: median(enqueues), startMicros: median(starts) };
  } finally {
    await target.stop();
    rmSync(cwd, { recursive: true, force: true });
  }
}
