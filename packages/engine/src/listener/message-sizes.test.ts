import type { Duplex } from 'node:stream';
import { RawWorker } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { systemClock } from '../core/clock.js';
import { Core } from '../core/core.js';
import { silentLog } from '../core/log.js';
import { systemRandom } from '../core/random.js';
import { WorkerListener } from './worker-listener.js';

const MIB = 1024 * 1024;

let core: Core;
let listener: WorkerListener;
let url: string;

beforeEach(async () => {
  core = new Core({ clock: systemClock, random: systemRandom, log: silentLog });
  listener = new WorkerListener({
    core,
    telemetry: { accept: () => undefined },
    who: 'iii-worker-manager',
  });
  await listener.listen({ host: undefined, port: 0, handshakeTimeoutMs: 10_000 });
  url = `ws://127.0.0.1:${listener.port}`;
});
afterEach(() => listener.stop());

async function settled(worker: RawWorker): Promise<void> {
  await worker.ask('nobody::here', null);
}

/** Opcode, FIN and payload size of every frame that a server sends (RFC 6455, 5.2). */
function frameSizes(bytes: Buffer): { readonly opcode: number; readonly fin: boolean; readonly size: number }[] {
  const frames = [];
  for (let at = 0; at + 2 <= bytes.length;) {
    const first = bytes[at] as number;
    let size = (bytes[at + 1] as number) & 0x7f;
    let header = 2;
    if (size === 126) [size, header] = [bytes.readUInt16BE(at + 2), 4];
    else if (size === 127) [size, header] = [Number(bytes.readBigUInt64BE(at + 2)), 10];
    frames.push({ opcode: first & 0x0f, fin: (first & 0x80) !== 0, size });
    at += header + size;
  }
  return frames;
}

describe('large messages', () => {
  it('above 16 MiB go out as 1 MiB continuation frames and arrive whole, both ways', async () => {
    const server = await RawWorker.connect(url);
    const text = 'ü'.repeat(9 * MIB);
    server.serve('echo', (data) => (data as { text: string }).text);
    await settled(server);
    const socket = new WebSocket(url);
    const chunks: Buffer[] = [];
    socket.once('upgrade', ({ socket: stream }) =>
      (stream as Duplex).on('data', (chunk: Buffer) => chunks.push(chunk)),
    );
    const id = '00000000-0000-4000-8000-000000000001';
    const answer = await new Promise<string>((resolve, reject) => {
      socket.on('error', reject);
      socket.on('open', () =>
        socket.send(JSON.stringify({ type: 'invokefunction', invocation_id: id, function_id: 'echo', data: { text } })),
      );
      socket.on('message', (data: Buffer) => {
        if (data.length > MIB) resolve(data.toString());
      });
    });
    expect((JSON.parse(answer) as { result: string }).result === text).toBe(true);
    const all = frameSizes(Buffer.concat(chunks));
    const frames = all.slice(all.findIndex(({ size }) => size === MIB));
    expect(frames[0]).toEqual({ opcode: 1, fin: false, size: MIB });
    expect(frames.slice(1, -1).every(({ opcode, fin, size }) => opcode === 0 && !fin && size === MIB)).toBe(true);
    expect(frames.at(-1)).toMatchObject({ opcode: 0, fin: true });
    socket.terminate();
  });

  it('are put together from the frames of a client that splits them', async () => {
    const [server, caller] = [await RawWorker.connect(url), new WebSocket(url)];
    server.serve('length', (data) => (data as { text: string }).text.length);
    await settled(server);
    const id = '00000000-0000-4000-8000-000000000001';
    const frame = JSON.stringify({
      type: 'invokefunction',
      invocation_id: id,
      function_id: 'length',
      data: { text: 'ü'.repeat(10 * MIB) },
    });
    const bytes = Buffer.from(frame);
    const answer = await new Promise<string>((resolve, reject) => {
      caller.on('error', reject);
      caller.on('open', () => {
        // An odd size: a split inside a character.
        const step = MIB - 1;
        for (let from = 0; from < bytes.length; from += step) {
          caller.send(bytes.subarray(from, from + step), { binary: false, fin: from + step >= bytes.length });
        }
      });
      caller.on('message', (data: Buffer) => {
        const text = data.toString();
        if (text.includes('invocationresult')) resolve(text);
      });
    });
    expect(JSON.parse(answer)).toMatchObject({ result: 10 * MIB });
    caller.terminate();
  });
});

describe('a client that takes 1 MiB', () => {
  const big = { text: 'x'.repeat(2 * MIB) };

  it('is an old Python one, by its user agent until it has described itself', async () => {
    const old = await RawWorker.connect(url, { headers: { 'user-agent': 'Python/3.11 websockets/12.0' } });
    old.serve('echo', (data) => data);
    await settled(old);
    const caller = await RawWorker.connect(url);
    await expect(caller.call('echo', big)).rejects.toMatchObject({
      code: 'payload_too_large',
      message: expect.stringContaining('upgrade its iii-sdk to 0.24.5 or later, or send less') as unknown,
    });
    expect(old.isOpen).toBe(true);
  });

  it.each([
    ['0.22.1', [], false],
    ['0.24.4', [], false],
    ['0.24.5', [], true],
    ['1.0.0', [], true],
    ['0.22.1', ['large-messages.v1'], true],
  ] as const)('version %s with features %j: takes more is %s', async (version, features, takesMore) => {
    const worker = await RawWorker.connect(url, { headers: { 'user-agent': 'Python/3.11 websockets/12.0' } });
    worker.serve('echo', () => 'taken');
    await settled(worker);
    const session = core.session(worker.id);
    if (session === undefined) throw new Error('no session');
    core.describe(session, { runtime: 'python', version, features });
    const caller = await RawWorker.connect(url);
    const answer = await caller.ask('echo', big);
    if (takesMore) expect(answer['result']).toBe('taken');
    else expect(answer['error']).toMatchObject({ code: 'payload_too_large' });
  });

  it('is measured in bytes, not in characters', async () => {
    const old = await RawWorker.connect(url, { headers: { 'user-agent': 'websockets' } });
    old.serve('length', (data) => (data as string).length);
    await settled(old);
    const caller = await RawWorker.connect(url);
    caller.serve('euros', (count) => '€'.repeat(count as number));
    await settled(caller);
    // Three bytes each.
    expect(await caller.call('length', '€'.repeat(300_000))).toBe(300_000);
    expect(await old.call('euros', 300_000)).toHaveLength(300_000);
    for (const call of [caller.call('length', '€'.repeat(400_000)), old.call('euros', 400_000)])
      await expect(call).rejects.toMatchObject({ code: 'payload_too_large' });
  });

  it('refuses a trigger that is too large, to the worker that registered it', async () => {
    const provider = await RawWorker.connect(url, { headers: { 'user-agent': 'websockets' } });
    provider.send({ type: 'registertriggertype', id: 'timer', description: 'Timer' });
    await settled(provider);
    const user = await RawWorker.connect(url);
    user.send({ type: 'registertrigger', id: 't', trigger_type: 'timer', function_id: 'f', config: big });
    expect(await user.frame('triggerregistrationresult')).toMatchObject({
      error: {
        code: 'trigger_registration_failed',
        message: expect.stringContaining('accepts 1048576 bytes') as unknown,
      },
    });
  });
});
