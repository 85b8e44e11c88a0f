import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RawChannel, RawWorker, tempFolder, waitFor, type RawChannelRef } from '@trine/testing';
import { expect, it } from 'vitest';
import { stringify } from 'yaml';
import { EngineProcess, freePort } from '../support/engine-process.js';

const MIB = 1024 * 1024;
const TOTAL_BYTES = 300 * MIB;
const FRAME = Buffer.alloc(64 * 1024, 7);
/** What the engine's memory may grow by while that goes through: buffers of the channel, the sockets and the collector. */
const MAX_GROWTH_BYTES = 100 * MIB;
const WRITE_AHEAD_BYTES = 4 * MIB;

async function rssBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

it.skipIf(process.platform !== 'linux')(
  'channels - 300 MiB go through in constant memory, also when the reader is slower than the writer',
  { timeout: 120_000 },
  async () => {
    const folder = await tempFolder();
    const port = await freePort();
    await writeFile(
      join(folder.path, 'config.yaml'),
      stringify({ workers: [{ name: 'iii-worker-manager', config: { port } }] }),
    );
    const engine = await EngineProcess.start({ cwd: folder.path, port });
    try {
      const url = `ws://127.0.0.1:${port}`;
      const worker = await RawWorker.connect(url);
      const made = (await worker.call('engine::channels::create', {})) as Record<'writer' | 'reader', RawChannelRef>;
      const [from, to] = [await RawChannel.open(url, made.writer), await RawChannel.open(url, made.reader)];
      to.isCounting = true;
      const before = await rssBytes(engine.pid as number);
      let highest = 0;
      let sent = 0;
      while (sent < TOTAL_BYTES) {
        while (sent < TOTAL_BYTES && from.ws.bufferedAmount < WRITE_AHEAD_BYTES) {
          from.send(FRAME);
          sent += FRAME.length;
        }
        // Every few rounds the reader stands still until everything before it is full.
        if (sent % (32 * MIB) < WRITE_AHEAD_BYTES) {
          to.ws.pause();
          let waiting = -1;
          await waitFor(() => waiting === (waiting = from.ws.bufferedAmount), { everyMs: 50 });
          to.ws.resume();
        }
        await new Promise((resolve) => setImmediate(resolve));
        highest = Math.max(highest, await rssBytes(engine.pid as number));
      }
      from.close();
      expect(await to.closed()).toEqual([1005, '']);
      expect(to.bytes).toBe(TOTAL_BYTES);
      expect(highest - before).toBeLessThan(MAX_GROWTH_BYTES);
    } finally {
      await engine.kill();
      await folder.remove();
    }
  },
);
