/**
 * Connections that break as networks break them, under unmodified SDK clients: cut on one side and
 * held on the other, all at once, or dead without a word. At the end nothing is missing and every
 * call has had one answer.
 */
import { createEngine, type Engine } from '@trine/engine';
import { CuttingProxy, RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import * as sdk from 'iii-sdk-0.22';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SeededRandom, testSeed } from '../support/seeded-random.js';

/** Cut at once in CI; `TRINE_CUTS` asks for more. */
const CUTS = Number(process.env['TRINE_CUTS'] ?? 50);
/** Longest time that the other side stays open, in milliseconds; `TRINE_HOLD_MS` asks for more. */
const MAX_HOLD_MS = Number(process.env['TRINE_HOLD_MS'] ?? 5_000);
/** Workers of the storm; `TRINE_STORM` asks for more. */
const STORM = Number(process.env['TRINE_STORM'] ?? 200);
const STORM_FUNCTIONS = 20;
const STORM_ROUTES = 5;
/** All of the storm are back within this time, in milliseconds. */
const STORM_BACK_MS = 10_000;
/** How long calls wait, in milliseconds: longer than hold, backoff and grace. */
const CALL_MS = 15_000;
/** The SDK's backoff doubles from 1 s with 30 % of chance: the longest way back after a hold, in milliseconds. */
const BACK_MS = MAX_HOLD_MS + 30_000;

let folder: TempFolder;
let engine: Engine;

async function start(heartbeatMs?: number): Promise<void> {
  folder = await tempFolder();
  engine = await createEngine({
    cwd: folder.path,
    logLevel: 'silent',
    config: {
      workers: [
        { name: 'iii-worker-manager', config: { port: 0 } },
        { name: 'iii-http', config: { host: '127.0.0.1', port: 0 } },
      ],
    },
    ...(heartbeatMs === undefined ? {} : { heartbeat: { intervalMs: heartbeatMs } }),
  });
  await engine.start();
}

const stops: (() => Promise<void>)[] = [];
beforeEach(() => {
  process.env['OTEL_ENABLED'] = 'false';
});
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
  await engine.stop();
  await folder.remove();
});

async function proxied(): Promise<CuttingProxy> {
  const proxy = await CuttingProxy.start(engine.ports['iii-worker-manager'] as number);
  stops.push(() => proxy.stop());
  return proxy;
}

function get(path: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${engine.ports['http'] as number}${path}`);
}

describe('faults - connections', () => {
  it(`are cut and held, ${CUTS} at once, and nothing is missing afterwards`, async () => {
    await start();
    const random = new SeededRandom(testSeed('cut and hold'));
    const caller = engine.worker('caller');
    const workers = await Promise.all(
      Array.from({ length: CUTS }, async (_, i) => {
        const proxy = await proxied();
        const worker = sdk.registerWorker(`ws://127.0.0.1:${proxy.port}`, { workerName: `cut-${i}` });
        stops.push(() => worker.shutdown());
        let started = 0;
        let release: () => void = () => undefined;
        const released = new Promise<void>((resolve) => (release = resolve));
        worker.registerFunction(`cut${i}::slow`, async () => {
          started++;
          await released;
          return { from: i };
        });
        worker.registerFunction(`cut${i}::page`, () => Promise.resolve({ status_code: 200, body: { page: i } }));
        worker.registerTrigger({
          type: 'http',
          function_id: `cut${i}::page`,
          config: { api_path: `/cut/${i}`, http_method: 'GET' },
        });
        return { i, proxy, worker, started: () => started, release };
      }),
    );
    for (const { i } of workers) await waitFor(async () => (await get(`/cut/${i}`)).status === 200);

    // One call to each worker and one by each worker are under way when the connections break.
    const inward = workers.map(({ i }) =>
      caller.trigger({ function_id: `cut${i}::slow`, timeoutMs: CALL_MS }).then(
        (result) => ({ result }),
        (error: unknown) => ({ code: (error as { code?: string }).code }),
      ),
    );
    let parked = 0;
    const answers: (() => void)[] = [];
    caller.registerFunction('caller::wait', async () => {
      parked++;
      await new Promise<void>((resolve) => answers.push(resolve));
      return 'answered';
    });
    const outward = workers.map(({ worker }) =>
      worker.trigger({ function_id: 'caller::wait', payload: {}, timeoutMs: CALL_MS }).catch((error: unknown) => error),
    );
    await waitFor(() => workers.every(({ started }) => started() === 1) && parked === CUTS, { timeoutMs: 30_000 });
    // The engine asks for confirmations at most once a second: what is confirmed must survive.
    const confirmed = workers.map(({ i }) => i);
    await waitFor(() => confirmed.every((i) => isConfirmed(`cut${i}`)), { timeoutMs: 5_000 });

    const sides = workers.map(() => random.pick(['client', 'upstream'] as const));
    const cutAt = performance.now();
    workers.forEach(({ proxy }, n) =>
      proxy.cut({ side: sides[n] as 'client', holdMs: random.between(0, MAX_HOLD_MS) }),
    );
    for (const answer of answers) answer();
    // A worker that answers in the very moment of the cut writes into a dead socket: let it learn of it first.
    await waitFor(() => workers.every(({ proxy }, n) => sides[n] !== 'client' || proxy.connections > 1), {
      what: 'the cut workers to connect again',
    });
    for (const { release } of workers) release();

    // A client that learned at once of its cut is back within the grace, and its calls have survived in both
    // roles. One that learned later than the grace has lost them: the caller's own time limit tells it.
    (await Promise.all(outward)).forEach((answer, n) => {
      if (sides[n] === 'client' || !(answer instanceof Error)) expect(answer, `call by cut${n}`).toBe('answered');
      else expect(answer.message).toContain('TIMEOUT');
    });
    const results = await Promise.all(inward);
    results.forEach((result, n) => {
      if (sides[n] === 'client') expect(result, `call of cut${n}`).toEqual({ result: { from: n } });
      else if ('result' in result) expect(result.result).toEqual({ from: n });
      // An answer that the worker wrote into its dead socket is gone, and nobody can know: the time limit tells.
      else expect(['invocation_stopped', 'TIMEOUT']).toContain(result.code);
    });
    for (const { i } of workers) {
      await waitFor(async () => (await get(`/cut/${i}`)).status === 200, {
        what: `the route of worker ${i}`,
        timeoutMs: Math.max(1_000, BACK_MS - (performance.now() - cutAt)),
      });
      expect(await (await get(`/cut/${i}`)).json()).toEqual({ page: i });
      expect(await caller.trigger({ function_id: `cut${i}::slow` })).toEqual({ from: i });
    }
    await waitFor(() => [...engine.core.sessions()].filter(({ kind }) => kind === 'remote').length === CUTS, {
      what: 'the old sessions to end',
      timeoutMs: 10_000,
    });
  });

  it(`break for ${STORM} workers at once, and all is back within ${STORM_BACK_MS / 1_000} s`, async () => {
    await start();
    const proxy = await proxied();
    const workers = Array.from({ length: STORM }, (_, i) => {
      const worker = sdk.registerWorker(`ws://127.0.0.1:${proxy.port}`, { workerName: `storm-${i}` });
      stops.push(() => worker.shutdown());
      for (let f = 0; f < STORM_FUNCTIONS; f++) {
        worker.registerFunction(`storm${i}::f${f}`, () => Promise.resolve({ status_code: 200, body: { i, f } }));
      }
      for (let r = 0; r < STORM_ROUTES; r++) {
        worker.registerTrigger({
          type: 'http',
          function_id: `storm${i}::f${r}`,
          config: { api_path: `/storm/${i}/${r}`, http_method: 'GET' },
        });
      }
      return worker;
    });
    expect(workers).toHaveLength(STORM);
    const complete = (): boolean =>
      [...engine.core.registry.serving()].filter(
        ({ id, session }) => id.startsWith('storm') && session.state === 'open',
      ).length ===
        STORM * STORM_FUNCTIONS &&
      [...engine.core.bindings.triggers()].filter(
        ({ owner, provider }) => owner?.state === 'open' && provider !== undefined,
      ).length ===
        STORM * STORM_ROUTES;
    await waitFor(complete, { what: 'all workers to be there', timeoutMs: 60_000 });
    const before = proxy.connections;
    proxy.cut();
    await waitFor(() => proxy.connections >= before + STORM && complete(), {
      what: 'all workers to be back',
      timeoutMs: STORM_BACK_MS,
    });
    for (const i of [0, Math.floor(STORM / 2), STORM - 1]) {
      expect(await (await get(`/storm/${i}/${STORM_ROUTES - 1}`)).json()).toEqual({ i, f: STORM_ROUTES - 1 });
    }
  });

  it('go dead without a word: noticed after three pings, and callers get an error', async () => {
    await start(1_000);
    const proxy = await proxied();
    const worker = await RawWorker.connect(`ws://127.0.0.1:${proxy.port}`);
    worker.serve('dead::end', () => new Promise(() => undefined));
    await worker.ask('nobody::here', null);
    proxy.blackhole();
    await waitFor(() => engine.core.session(worker.id) === undefined, { what: 'the dead socket to be noticed' });
    await expect(engine.worker('caller').trigger({ function_id: 'dead::end' })).rejects.toMatchObject({
      code: 'function_not_found',
    });
    worker.drop();
  });

  it('go dead while a call runs: its caller gets an error after the longer patience', async () => {
    await start(200);
    const proxy = await proxied();
    const worker = await RawWorker.connect(`ws://127.0.0.1:${proxy.port}`);
    let started = 0;
    worker.serve('dead::end', () => {
      started++;
      return new Promise(() => undefined);
    });
    await worker.ask('nobody::here', null);
    const call = engine.worker('caller').trigger({ function_id: 'dead::end' });
    call.catch(() => undefined);
    await waitFor(() => started === 1);
    proxy.cut({ side: 'upstream', holdMs: 60_000 });
    await expect(call).rejects.toMatchObject({ code: 'invocation_stopped' });
    worker.drop();
  });
});

/** Has the client confirmed the call that it runs? */
function isConfirmed(name: string): boolean {
  for (const session of engine.core.sessions()) {
    if (!session.info.name?.endsWith(name.replace('cut', 'cut-'))) continue;
    const call = [...session.executing][0];
    return call !== undefined && session.hasConfirmed(call);
  }
  return false;
}
