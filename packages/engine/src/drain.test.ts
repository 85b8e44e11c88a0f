import { RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createLog } from './core/log-writer.js';
import { createEngine, type Engine, type EngineOptions } from './index.js';

/** Longer than any of these tests takes: who waits for it fails. */
const FAR_MS = 60_000;

describe('an engine that is told to stop', () => {
  let folder: TempFolder;
  let engine: Engine;
  let worker: RawWorker;
  let lines: string[];

  const start = async (options: EngineOptions = {}): Promise<void> => {
    lines = [];
    engine = await createEngine({
      cwd: folder.path,
      log: createLog({ level: 'info', format: 'json', stream: { write: (line) => lines.push(line) > 0 } }),
      drainMs: FAR_MS,
      ...options,
      config: {
        workers: [
          { name: 'iii-worker-manager', config: { port: 0 } },
          { name: 'iii-http', config: { port: 0 } },
          { name: 'iii-queue', config: { queue_configs: { one: { concurrency: 1 } } } },
          { name: 'iii-state' },
        ],
      },
    });
    await engine.start();
    worker = await RawWorker.connect(engine.url);
  };
  const enqueue = (functionId: string, data: unknown): Promise<unknown> =>
    worker.call(functionId, data, { action: { type: 'enqueue', queue: 'one' } });
  /** A handler that holds each call until it is let go. */
  const holding = (id: string, extra: object = {}) => {
    const started: unknown[] = [];
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    worker.serve(
      id,
      async (data, frame) => {
        started.push({ data, ...(frame['metadata'] as object | undefined) });
        await released;
        return { held: true };
      },
      extra,
    );
    return { started, release };
  };
  const starts = (held: { started: unknown[] }, count: number): Promise<unknown> =>
    waitFor(() => held.started.length === count, { what: `${count} started` });

  beforeEach(async () => {
    folder = await tempFolder();
  });
  afterEach(async () => {
    worker.drop();
    await engine.stop({ drainMs: 0 });
    await folder.remove();
  });

  test('lets a job finish, starts none behind it, and the next engine runs the rest', async () => {
    await start();
    const held = holding('drain::job');
    for (let n = 1; n <= 3; n++) await enqueue('drain::job', { n });
    await starts(held, 1);
    const stopped = engine.stop();
    held.release();
    await stopped;
    expect(worker.closeCode).toBe(1012);
    expect(held.started).toHaveLength(1);

    await start();
    const again = holding('drain::job');
    again.release();
    await starts(again, 2);
    expect(again.started).toMatchObject([
      { data: { n: 2 }, queue: { attempt: 1 } },
      { data: { n: 3 }, queue: { attempt: 1 } },
    ]);
  });

  test('takes calls, enqueues and state writes of connected workers meanwhile, and no new connection', async () => {
    await start();
    const { url } = engine;
    const held = holding('drain::held');
    const job = holding('drain::later');
    const waiting = worker.ask('drain::held', {});
    await starts(held, 1);
    const stopped = engine.stop();
    await expect(fetch(url.replace('ws:', 'http:'))).rejects.toThrow();
    worker.serve('drain::echo', (data) => data);
    expect(await worker.call('drain::echo', { n: 1 })).toMatchObject({ n: 1 });
    expect(await enqueue('drain::later', { kept: true })).toMatchObject({
      messageReceiptId: expect.any(String) as string,
    });
    await worker.call('state::set', { scope: 's', key: 'k', value: 'kept' });
    held.release();
    expect(await waiting).toMatchObject({ result: { held: true } });
    await stopped;
    expect(job.started).toEqual([]);

    await start();
    expect(await worker.call('state::get', { scope: 's', key: 'k' })).toBe('kept');
    await starts(holding('drain::later'), 1);
  });

  test('answers HTTP requests that are open and refuses those that come', async () => {
    await start();
    const held = holding('drain::page');
    worker.send({
      type: 'registertrigger',
      id: 'page',
      trigger_type: 'http',
      function_id: 'drain::page',
      config: { api_path: 'page' },
    });
    const url = `http://127.0.0.1:${engine.ports['http']}/page`;
    await waitFor(async () => (await fetch(url, { method: 'OPTIONS' })).ok, { what: 'the route' });
    const page = fetch(url);
    await starts(held, 1);
    const stopped = engine.stop();
    await waitFor(
      () =>
        fetch(url).then(
          (answer) => answer.status === 503,
          () => true,
        ),
      { what: 'a refusal' },
    );
    held.release();
    expect((await page).status).toBe(200);
    await stopped;
  });

  test('is held up by no worker that goes on calling', async () => {
    await start();
    worker.serve('drain::echo', (data) => data);
    let calls = 0;
    const closed = waitFor(() => !worker.isOpen, { timeoutMs: FAR_MS, what: 'the end' });
    const loop = (async () => {
      for (; worker.isOpen; calls++) await Promise.race([worker.ask('drain::echo', {}), closed]);
    })();
    await waitFor(() => calls > 10);
    await engine.stop();
    await loop;
    expect(lines.join('')).not.toContain('cut off');
  });

  test('cuts off what runs at its deadline, tells of it, and charges nothing', async () => {
    await start({ drainMs: 100 });
    const held = holding('drain::stuck');
    await enqueue('drain::stuck', {});
    await starts(held, 1);
    await engine.stop();
    expect(lines.join('')).toMatch(/cut off.*drain::stuck/);

    await start();
    const again = holding('drain::stuck');
    again.release();
    await starts(again, 1);
    expect(again.started).toMatchObject([{ queue: { attempt: 1, redelivered: true } }]);
    expect(await worker.call('engine::queue::topic_stats', { topic: 'one' })).toMatchObject({ dlq_depth: 0 });
  });

  test('stops sooner when it is told so again', async () => {
    await start();
    const held = holding('drain::stuck');
    void worker.ask('drain::stuck', {});
    await starts(held, 1);
    const stopped = engine.stop();
    await engine.stop({ drainMs: 0 });
    await stopped;
    expect(engine.state).toBe('stopped');
  });
});
