/** Channels of a client that comes back within the grace, and of one that does not. */
import { createEngine, type Engine } from '@trine/engine';
import { RawChannel, RawWorker, tempFolder, waitFor, type RawChannelRef, type TempFolder } from '@trine/testing';
import { afterEach, describe, expect, it } from 'vitest';

const SDK = { name: 'maker', runtime: 'node', version: '0.22.1' } as const;

let engine: Engine;
let folder: TempFolder;

async function start(reattachGraceMs: number): Promise<void> {
  folder = await tempFolder();
  engine = await createEngine({
    config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }] },
    cwd: folder.path,
    logLevel: 'error',
    limits: { reattachGraceMs },
  });
  await engine.start();
}

afterEach(async () => {
  await engine.stop();
  await folder.remove();
});

async function maker(previous?: RawWorker): Promise<RawWorker> {
  const worker = await RawWorker.connect(engine.url);
  if (previous !== undefined) worker.reattach(previous);
  worker.describe(SDK);
  await worker.ask('nobody::here', null);
  return worker;
}

async function channelOf(worker: RawWorker): Promise<{ from: RawChannel; to: RawChannel }> {
  const made = (await worker.call('engine::channels::create', {})) as Record<'writer' | 'reader', RawChannelRef>;
  return { from: await RawChannel.open(engine.url, made.writer), to: await RawChannel.open(engine.url, made.reader) };
}

describe('channels of a client whose connection dropped', () => {
  it('stay while it may come back, and are its own again when it does', async () => {
    await start(60_000);
    const before = await maker();
    const { from, to } = await channelOf(before);
    before.drop();
    await waitFor(() => engine.core.session(before.id)?.state === 'detached');
    from.send('while away');
    await waitFor(() => to.messages.length === 1);
    const after = await maker(before);
    await waitFor(() => engine.core.session(before.id) === undefined);
    from.send('back');
    await waitFor(() => to.messages.length === 2);
    await after.close(); // for good this time
    expect(await to.closed()).toEqual([1011, 'owner_gone']);
  });

  it('end when the grace is over', async () => {
    await start(50);
    const worker = await maker();
    const { from, to } = await channelOf(worker);
    worker.drop();
    expect(await to.closed()).toEqual([1011, 'owner_gone']);
    expect(await from.closed()).toEqual([1011, 'owner_gone']);
  });
});
