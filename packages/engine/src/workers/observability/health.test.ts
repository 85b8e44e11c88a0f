import { createEngine, type Engine } from '../../index.js';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, expect, it } from 'vitest';

let folder: TempFolder;
let engine: Engine;

afterEach(async () => {
  await engine.stop();
  await folder.remove();
});

it('tells of the disk and of the queue, and is degraded with them', async () => {
  folder = await tempFolder();
  engine = await createEngine({
    cwd: folder.path,
    logLevel: 'silent',
    config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }, { name: 'iii-queue' }] },
  });
  await engine.start();
  const check = () =>
    engine.worker('test').trigger<unknown, { status: string }>({ function_id: 'engine::health::check', payload: {} });
  expect(await check()).toMatchObject({
    status: 'healthy',
    components: {
      storage: { status: 'healthy', details: { state: 'ok', quarantined_rows: 0 } },
      queue: { status: 'healthy', details: { adapter: 'builtin', state: 'ready' } },
    },
  });
  const { health } = engine.core;
  health.set('queue', () => ({ status: 'degraded', details: { detail: 'the disk is full' } }));
  await waitFor(async () => (await check()).status === 'degraded');
  expect(await check()).toMatchObject({
    components: { queue: { status: 'degraded', details: { detail: 'the disk is full' } } },
  });
});
