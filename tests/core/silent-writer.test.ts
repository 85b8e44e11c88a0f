/** A channel writer that never reads, as the Rust SDK's: whatever it is sent would cost it what it has written. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { createEngine } from '@trine/engine';
import { FakeClock, RawChannel, RawWorker, tempFolder, type RawChannelRef } from '@trine/testing';
import { expect, it } from 'vitest';

const WRITER = join(import.meta.dirname, 'fixtures', 'silent-writer.py');
/** Longer than any pause between two pings, in milliseconds of the engine's clock. */
const SILENCE_MS = 120_000;

it('delivers all that a writer has written that never reads, was held back for long, and drops its socket at the end', async () => {
  const clock = new FakeClock();
  const folder = await tempFolder('trine-silent-');
  const engine = await createEngine({
    cwd: folder.path,
    clock,
    logLevel: 'silent',
    config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }] },
  });
  await engine.start();
  const { hostname, port } = new URL(engine.url);
  const worker = await RawWorker.connect(engine.url);
  const { writer, reader } = (await worker.call('engine::channels::create', {})) as {
    writer: RawChannelRef;
    reader: RawChannelRef;
  };
  const path = `/ws/channels/${writer.channel_id}?key=${writer.access_key}&dir=write`;
  const process = spawn('python3', [WRITER, hostname, port, path], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const lines = createInterface({ input: process.stdout })[Symbol.asyncIterator]();
    const line = async (): Promise<string> => String((await lines.next()).value);
    expect(await line()).toBe('full');
    await clock.advance(SILENCE_MS);
    const end = await RawChannel.open(engine.url, reader);
    end.isCounting = true;
    process.stdin.write('\n');
    expect(await end.closed()).toEqual([1005, '']);
    expect(end.bytes).toBe(Number(await line()));
  } finally {
    process.kill('SIGKILL');
    worker.drop();
    await engine.stop();
    await folder.remove();
  }
});
