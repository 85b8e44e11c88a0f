/** Malformed frames by the million: nothing crashes, nothing is left unanswered, memory comes back. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { EngineProcess, freePort } from '../support/engine-process.js';
import { testSeed } from '../support/seeded-random.js';
import { STACK_TRACE_LINE } from '../support/stack-trace.js';
import type { FloodReport } from './flood/frame-flood.js';
import { reportRun } from './report.js';

const run = promisify(execFile);
const FLOOD = join(import.meta.dirname, 'flood', 'frame-flood.ts');

/** `pnpm test:faults --frames 100000000` sends more. */
const FRAMES = Number(process.env['TRINE_FRAMES'] ?? 1_000_000);
/** Brings code, caches and heap to where they stay. */
const WARM_UP_FRAMES = 80_000;
/** For a million frames on a busy machine, in milliseconds. */
const DEADLINE_MS = 170_000 + FRAMES * 0.5;
/** The engine's heap ends here: what is not given back ends the engine long before the last frame. In MiB. */
const MAX_HEAP_MIB = 128;
/** By how much the resident memory may differ, in KiB: pages of a heap that grew come back late. */
const SLACK_KIB = 64 * 1024;
/** The slowest answer that another worker may see meanwhile, in milliseconds. */
const VICTIM_DEADLINE_MS = 10_000;

let folder: TempFolder;
let port: number;
let engine: EngineProcess;
let victim: RawWorker;

beforeAll(async () => {
  folder = await tempFolder();
  port = await freePort();
  const workers = [
    { name: 'iii-worker-manager', config: { port } },
    { name: 'iii-http', config: { port: 0 } },
    { name: 'iii-state' },
    { name: 'iii-pubsub' },
    { name: 'iii-http-functions' },
  ];
  await writeFile(join(folder.path, 'config.yaml'), stringify({ workers }));
  const env = { NODE_OPTIONS: `--max-old-space-size=${MAX_HEAP_MIB}` };
  engine = await EngineProcess.start({ cwd: folder.path, port, env });
  victim = await RawWorker.connect(`ws://127.0.0.1:${port}`);
  victim.serve('victim::echo', (data) => data);
});

afterAll(async () => {
  victim.drop();
  await engine.kill();
  await folder.remove();
});

async function flood(frames: number, seed: number): Promise<FloodReport> {
  const words = ['--import', import.meta.resolve('tsx'), FLOOD, String(port), String(frames), String(seed)];
  const { stdout } = await run(process.execPath, words, { timeout: DEADLINE_MS });
  return JSON.parse(stdout) as FloodReport;
}

/** Resident memory of the engine, in KiB. */
async function residentKib(): Promise<number> {
  if (process.platform === 'linux') {
    const status = await readFile(`/proc/${engine.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]);
  }
  return Number((await run('ps', ['-o', 'rss=', '-p', String(engine.pid)])).stdout);
}

describe('malformed frames', () => {
  test(
    `${FRAMES} of them: every readable call is answered once, memory comes back, others notice nothing`,
    async () => {
      const seed = testSeed('frame flood');
      expect(await flood(WARM_UP_FRAMES, seed + 1)).toMatchObject({
        unanswered: 0,
        doubled: 0,
        closes: [],
        samples: [],
      });
      const baseKib = await residentKib();
      const flooding = flood(FRAMES, seed);
      let isOver = false;
      void flooding.catch(() => undefined).finally(() => (isOver = true));
      let slowestMs = 0;
      for (let n = 0; !isOver; n++) {
        const asked = performance.now();
        expect(await victim.call('victim::echo', { n })).toMatchObject({ n });
        slowestMs = Math.max(slowestMs, performance.now() - asked);
        // One call after another, at a pace that leaves the flood its share.
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      const report = await flooding;
      expect(report).toMatchObject({ unanswered: 0, doubled: 0, closes: [], samples: [] });
      expect(report.frames).toBeGreaterThanOrEqual(FRAMES);
      expect(report.calls).toBeGreaterThan(FRAMES / 4);
      expect(slowestMs).toBeLessThan(VICTIM_DEADLINE_MS);
      expect(engine.isRunning, engine.output.slice(-2_000)).toBe(true);
      expect(victim.isOpen).toBe(true);
      expect(engine.output).not.toMatch(STACK_TRACE_LINE);
      await waitFor(async () => (await residentKib()) < baseKib + SLACK_KIB, {
        timeoutMs: 20_000,
        everyMs: 200,
        what: `resident memory to come back to ${baseKib} KiB and ${SLACK_KIB} KiB of slack`,
      });
      reportRun({
        test: 'malformed frames (F9)',
        seed,
        counts: {
          frames: report.frames,
          'calls answered once': report.calls,
          'ms at most for a call of another worker': Math.round(slowestMs),
        },
      });
    },
    2 * DEADLINE_MS,
  );
});
