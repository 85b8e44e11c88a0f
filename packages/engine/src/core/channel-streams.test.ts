import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { createEngine, type Engine } from '@trine/engine';
import { RawChannel, tempFolder, type TempFolder } from '@trine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let folder: TempFolder;
let engine: Engine;

beforeAll(async () => {
  folder = await tempFolder();
  engine = await createEngine({
    cwd: folder.path,
    logLevel: 'silent',
    config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }] },
  });
  await engine.start();
});
afterAll(async () => {
  await engine.stop();
  await folder.remove();
});

describe('channels inside the process', () => {
  it('carry streams and text from one worker to another', async () => {
    const [a, b] = [engine.worker('a'), engine.worker('b')];
    const texts: string[] = [];
    b.registerFunction('b::size', async ({ input }: { input: never }) => {
      const reader = b.openReader(input);
      reader.onMessage((text) => texts.push(text));
      return (await reader.readAll()).length;
    });
    const { writer, readerRef } = a.createChannel(1);
    const size = a.trigger({ function_id: 'b::size', payload: { input: readerRef } });
    expect(writer.sendMessage('begin')).toBe(true);
    const pieces = Array.from({ length: 100 }, () => Buffer.alloc(50_000));
    await pipeline(Readable.from(pieces), writer.stream);
    expect([await size, texts]).toEqual([5_000_000, ['begin']]);
    expect(engine.core.channels.size).toBe(0);
  });

  it('write frames of at most 64 KiB, which every SDK takes', async () => {
    const { writer, readerRef } = engine.worker('a').createChannel();
    writer.stream.end(Buffer.alloc(200_000, 7));
    const to = await RawChannel.open(engine.url, readerRef);
    await to.closed();
    expect(to.messages.map((message) => message.length)).toEqual([65_536, 65_536, 65_536, 3_392]);
  });

  it('hold the writer back until the reader reads', async () => {
    const { writer, reader } = engine.worker('a').createChannel(1);
    let written = 0;
    const writing = (async () => {
      for (let i = 0; i < 40; i++) {
        await new Promise<void>((resolve) => writer.stream.write(Buffer.alloc(64 * 1024), () => resolve()));
        written++;
      }
      writer.close();
    })();
    await new Promise((resolve) => setImmediate(resolve));
    expect(written).toBe(0);
    let isReady = false;
    const ready = writer.ready().then(() => (isReady = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(isReady).toBe(false);
    expect((await reader.readAll()).length).toBe(40 * 64 * 1024);
    await Promise.all([writing, ready]);
  });

  it('fail for a reader whose writer was destroyed, and for an end that was taken', async () => {
    const worker = engine.worker('a');
    const { writer, reader, writerRef } = worker.createChannel();
    writer.sendMessage('half');
    const all = reader.readAll();
    expect(() => worker.openWriter(writerRef).sendMessage('second')).toThrow(/taken before/);
    writer.stream.destroy();
    await expect(all).rejects.toMatchObject({
      code: 'channel_aborted',
      message: expect.stringContaining('writer_lost') as string,
    });
    expect(() => worker.openReader(writerRef)).toThrow(/not there/);
  });

  it('end with the worker that made them', async () => {
    const maker = engine.worker('maker');
    const { readerRef } = maker.createChannel();
    const reader = engine.worker('a').openReader(readerRef);
    const all = reader.readAll();
    await maker.shutdown();
    await expect(all).rejects.toMatchObject({ message: expect.stringContaining('owner_gone') as string });
  });
});
