import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createEngine, type Engine } from '@trine/engine';
import { RawWorker, tempFolder, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const MESSAGES = 100;
const MEGABYTE = 'x'.repeat(1_000_000);
/** Far below what the messages hold together, in bytes. */
const FEW_BYTES = 40_000_000;

describe('memory - what an engine keeps does not grow with the size of messages that have left it', () => {
  let folder: TempFolder;
  let engine: Engine;
  let client: RawWorker;

  /** Bytes on the heap that came with `run`. */
  async function kept(run: () => Promise<void>): Promise<number> {
    const before = heap();
    await run();
    return heap() - before;
  }
  function heap(): number {
    for (let i = 0; i < 4; i++) collectGarbage();
    return process.memoryUsage().heapUsed;
  }
  function forget(worker: RawWorker): void {
    worker.texts.length = 0;
    worker.frames.length = 1;
  }

  beforeEach(async () => {
    folder = await tempFolder();
    engine = await createEngine({
      cwd: folder.path,
      logLevel: 'silent',
      config: {
        workers: [
          { name: 'iii-worker-manager', config: { port: 0 } },
          {
            name: 'iii-queue',
            config: { queue_configs: { groups: { type: 'fifo', message_group_field: 'group' } } },
          },
        ],
      },
    });
    await engine.start();
    client = await RawWorker.connect(engine.url);
  });
  afterEach(async () => {
    await client.close();
    await engine.stop();
    await folder.remove();
  });

  it('calls that wait for their answer', async () => {
    const server = await RawWorker.connect(engine.url);
    server.serve('hangs::for::ever', () => new Promise(() => undefined));
    await server.ask('nobody::here', null);
    const bytes = await kept(async () => {
      for (let i = 0; i < MESSAGES; i++) {
        void client.ask('hangs::for::ever', { data: MEGABYTE }, { metadata: { tag: MEGABYTE.slice(1) } });
        await client.ask('nobody::here', null);
        await server.ask('nobody::here', null);
        forget(server);
      }
      forget(client);
    });
    expect(bytes).toBeLessThan(FEW_BYTES);
    await server.close();
  });

  it('topics that hold messages on disk', async () => {
    const bytes = await kept(async () => {
      for (let i = 0; i < MESSAGES; i++)
        await client.call('iii::durable::publish', { topic: `a.topic.of.its.own.${i}`, data: MEGABYTE });
    });
    expect(bytes).toBeLessThan(FEW_BYTES);
  });

  it('groups whose jobs wait on disk', async () => {
    const action = { type: 'enqueue', queue: 'groups' };
    const bytes = await kept(async () => {
      for (let i = 0; i < MESSAGES; i++)
        await client.call('absent::function', { group: `a-group-of-its-own-${i}`, data: MEGABYTE }, { action });
    });
    expect(bytes).toBeLessThan(FEW_BYTES);
  });
});
