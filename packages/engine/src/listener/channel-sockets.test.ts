import { createHash } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { FakeClock, RawChannel, RawWorker, rawExchange, waitFor, type RawChannelRef } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { BuiltInHost } from '../core/built-in-host.js';
import { registerChannelFunction } from '../core/channel-create.js';
import { systemClock, type Clock } from '../core/clock.js';
import { Core } from '../core/core.js';
import { silentLog } from '../core/log.js';
import { systemRandom } from '../core/random.js';
import type { Storage } from '../core/store.js';
import { WorkerListener } from './worker-listener.js';

const PYTHON = { 'user-agent': 'Python/3.11 websockets/17.4' };
const UNIT = 64 * 1024;

let core: Core;
let listener: WorkerListener;
let url: string;
let worker: RawWorker;

interface Pair {
  readonly writer: RawChannelRef;
  readonly reader: RawChannelRef;
}

async function start(clock: Clock = systemClock): Promise<void> {
  core = new Core({ clock, random: systemRandom, log: silentLog });
  const host = new BuiltInHost({
    core,
    entryName: 'test',
    workerName: 'iii-engine-functions',
    storage: {} as Storage,
    projectDir: '.',
    dataDir: '.',
    reportPort: () => undefined,
  });
  registerChannelFunction(core, host);
  listener = new WorkerListener({
    core,
    telemetry: { accept: () => undefined },
    who: 'iii-worker-manager',
  });
  await listener.listen({ host: undefined, port: 0, handshakeTimeoutMs: 10_000 });
  url = `ws://127.0.0.1:${listener.port}`;
  worker = await RawWorker.connect(url);
}

async function create(payload: unknown = {}): Promise<Pair> {
  return (await worker.call('engine::channels::create', payload)) as Pair;
}

beforeEach(() => start());
afterEach(() => listener.stop());

describe('the address of a channel', () => {
  const upgrade = (path: string): Promise<string> =>
    rawExchange(
      listener.port,
      `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n` +
        `sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
    );

  it('is 404 before the upgrade for an unknown id or a wrong key, 400 for a query that cannot be', async () => {
    const { reader } = await create();
    const { channel_id: id, access_key: key } = reader;
    for (const path of [`${id}?key=${id}&dir=read`, `no?key=${key}&dir=read`, `?key=${key}&dir=read`]) {
      const answer = await upgrade(`/ws/channels/${path}`);
      expect(answer).toMatch(/^HTTP\/1\.1 404 /);
      expect(answer).toMatch(/\r\n\r\nChannel not found$/);
    }
    for (const query of ['', '?', `?key=${key}`, '?dir=read', `?key=${key}&dir=both`, `?key=&dir=read`])
      expect(await upgrade(`/ws/channels/${id}${query}`)).toMatch(/^HTTP\/1\.1 400 /);
    const plain = await new Promise((resolve, reject) => {
      httpRequest({ port: listener.port, path: `/ws/channels/${id}?key=${key}&dir=read` }, (response) =>
        resolve(response.resume().statusCode),
      )
        .on('error', reject)
        .end();
    });
    expect(plain).toBe(400);
  });

  it('takes other query keys in any order, and says what every upgrade says', async () => {
    const { reader } = await create();
    const address = `${url}/ws/channels/${reader.channel_id}?token=q1&dir=read&x=&key=${reader.access_key}`;
    const ws = new WebSocket(address);
    let capabilities: unknown;
    ws.on('upgrade', (response) => (capabilities = response.headers['x-iii-capabilities']));
    await waitFor(() => ws.readyState === WebSocket.OPEN);
    expect(capabilities).toBe('tcp-nodelay');
    ws.terminate();
  });
});

describe('a channel on two sockets', () => {
  it('keeps text and binary in order with their boundaries, and ends with a Close without status', async () => {
    const { writer, reader } = await create({ buffer_size: null });
    const from = await RawChannel.open(url, writer);
    from.send('first');
    from.send(Buffer.from([0, 1]));
    const to = await RawChannel.open(url, reader);
    from.send('');
    from.send(Buffer.alloc(0));
    from.send('grüß 🎈');
    from.close();
    expect(await to.closed()).toEqual([1005, '']);
    expect(to.messages).toEqual(['first', Buffer.from([0, 1]), '', Buffer.alloc(0), 'grüß 🎈']);
    await waitFor(() => core.channels.size === 0);
  });

  it('may be written whole and closed before anybody reads', async () => {
    const { writer, reader } = await create();
    const from = await RawChannel.open(url, writer);
    for (let i = 0; i < 100; i++) from.send(`n${i}`);
    from.close();
    await from.closed();
    const to = await RawChannel.open(url, reader);
    expect(await to.closed()).toEqual([1005, '']);
    expect(to.messages).toEqual(Array.from({ length: 100 }, (_, i) => `n${i}`));
  });

  it('gives each end away once: a second socket is upgraded and closed at once', async () => {
    const { writer, reader } = await create();
    const [from, to] = [await RawChannel.open(url, writer), await RawChannel.open(url, reader)];
    for (const ref of [writer, reader]) {
      const second = await RawChannel.open(url, ref);
      expect(await second.closed()).toEqual([1005, '']);
    }
    from.send('still here');
    await waitFor(() => to.messages.length === 1);
  });

  it('tells the reader of a writer that was lost, or that closed with a failure', async () => {
    for (const lose of [(ws: WebSocket) => ws.terminate(), (ws: WebSocket) => ws.close(1011, 'oops')]) {
      const { writer, reader } = await create();
      const [from, to] = [await RawChannel.open(url, writer), await RawChannel.open(url, reader)];
      from.send('half');
      await waitFor(() => to.messages.length === 1);
      lose(from.ws);
      expect(await to.closed()).toEqual([1011, 'writer_lost']);
    }
  });

  it('tells the writer at once of a reader that left, also while it is held back', async () => {
    const { writer, reader } = await create({ buffer_size: 1 });
    const [from, to] = [await RawChannel.open(url, writer), await RawChannel.open(url, reader, {}, { paused: true })];
    for (let i = 0; i < 800; i++) from.send(Buffer.alloc(UNIT));
    await waitFor(() => core.channels.bufferedBytes >= UNIT);
    to.ws.terminate();
    expect(await from.closed()).toEqual([1011, 'reader_gone']);
    expect(core.channels.size).toBe(0);
  });

  it('ends with the worker that made it', async () => {
    const { writer, reader } = await create();
    const [from, to] = [await RawChannel.open(url, writer), await RawChannel.open(url, reader)];
    worker.drop();
    expect(await to.closed()).toEqual([1011, 'owner_gone']);
    expect(await from.closed()).toEqual([1011, 'owner_gone']);
  });

  it('answers pings of both ends, and lets what the reader says pass by', async () => {
    const { writer, reader } = await create();
    const [from, to] = [await RawChannel.open(url, writer), await RawChannel.open(url, reader)];
    const pongs: string[] = [];
    from.ws.on('pong', () => pongs.push('writer'));
    to.ws.on('pong', () => pongs.push('reader'));
    to.send('nobody listens');
    from.ws.ping();
    to.ws.ping();
    await waitFor(() => pongs.length === 2);
    expect([to.closeCode, from.closeCode]).toEqual([undefined, undefined]);
  });

  it('says 1011 when the engine stops', async () => {
    const { writer, reader } = await create();
    const [from, to] = [await RawChannel.open(url, writer), await RawChannel.open(url, reader)];
    await listener.stop();
    expect(await to.closed()).toEqual([1011, 'engine_stopping']);
    expect(await from.closed()).toEqual([1011, 'engine_stopping']);
  });
});

describe('sizes', () => {
  it('of one frame are kept, but split for readers in Python', async () => {
    const large = Buffer.alloc(3 * UNIT + 1, 'x');
    for (const [headers, sizes] of [
      [{}, [large.length]],
      [PYTHON, [UNIT, UNIT, UNIT, 1]],
    ] as const) {
      const { writer, reader } = await create();
      const [from, to] = [await RawChannel.open(url, writer), await RawChannel.open(url, reader, headers)];
      from.send(large);
      from.close();
      await to.closed();
      expect(to.messages.map((message) => message.length)).toEqual(sizes);
      expect(to.binary.equals(large)).toBe(true);
    }
  });

  it('of text that a reader in Python cannot take abort the channel and say why', async () => {
    const { writer, reader } = await create();
    const [from, to] = [await RawChannel.open(url, writer), await RawChannel.open(url, reader, PYTHON)];
    from.send('x'.repeat(1024 * 1024));
    await waitFor(() => to.messages.length === 1);
    from.send('x'.repeat(1024 * 1024 + 1));
    expect(await to.closed()).toEqual([1011, 'message_too_large']);
    expect(await from.closed()).toEqual([1011, 'message_too_large']);
  });

  it('above 16 MiB travel in continuation frames', async () => {
    const { writer, reader } = await create();
    const [from, to] = [await RawChannel.open(url, writer), await RawChannel.open(url, reader)];
    let largest = 0;
    // What one frame carries, as the parser of the receiving socket sees it.
    const receiver = (to.ws as unknown as { _receiver: { getData: (done: unknown) => void; _payloadLength: number } })
      ._receiver;
    const getData = receiver.getData.bind(receiver);
    receiver.getData = (done) => {
      largest = Math.max(largest, receiver._payloadLength);
      getData(done);
    };
    from.send(Buffer.alloc(17 * 1024 * 1024));
    from.close();
    await to.closed();
    expect([to.messages.map((message) => message.length), largest]).toEqual([[17 * 1024 * 1024], 1024 * 1024]);
  });
});

describe('backpressure', () => {
  it('reaches the writer through a reader that stands still, and nothing is lost', async () => {
    const { writer, reader } = await create({ buffer_size: 2 });
    const [from, to] = [await RawChannel.open(url, writer), await RawChannel.open(url, reader, {}, { paused: true })];
    const hashes = [createHash('sha256'), createHash('sha256')] as const;
    const TOTAL = 1_000;
    let taken = 0;
    for (let i = 0; i < TOTAL; i++) {
      const frame = Buffer.alloc(UNIT, i % 251);
      hashes[0].update(frame);
      from.ws.send(frame, () => taken++);
    }
    // The kernels' buffers and ours are full: the writer stands still.
    let before = -1;
    await waitFor(
      () => {
        const stands = taken === before && core.channels.bufferedBytes >= 2 * UNIT;
        before = taken;
        return stands;
      },
      { everyMs: 100 },
    );
    expect(taken).toBeLessThan(TOTAL);
    expect(core.channels.bufferedBytes).toBeLessThan(8 * UNIT);
    to.isCounting = true;
    to.ws.on('message', (data: Buffer) => hashes[1].update(data));
    to.ws.resume();
    from.close();
    expect(await to.closed()).toEqual([1005, '']);
    expect(to.bytes).toBe(TOTAL * UNIT);
    expect(hashes[1].digest('hex')).toBe(hashes[0].digest('hex'));
  });
});

describe('a reader in Python', () => {
  it('has little on the way to it: its pings must get through', async () => {
    const { writer, reader } = await create();
    const from = await RawChannel.open(url, writer);
    const to = await RawChannel.open(url, reader, PYTHON, { autoPong: false });
    const pings: Buffer[] = [];
    to.ws.on('ping', (payload) => pings.push(payload));
    for (let i = 0; i < 64; i++) from.send(Buffer.alloc(UNIT));
    from.close();
    await waitFor(() => core.channels.bufferedBytes > 32 * UNIT && pings.length >= 2);
    await worker.ask('nobody::here', null);
    expect(to.bytes).toBeGreaterThanOrEqual(16 * UNIT);
    expect(to.bytes).toBeLessThan(20 * UNIT);
    await waitFor(() => {
      for (const payload of pings.splice(0)) to.ws.pong(payload);
      return to.closeCode !== undefined;
    });
    expect([to.closeCode, to.bytes]).toEqual([1005, 64 * UNIT]);
  });
});

describe('a writer in Python that is held back', () => {
  it('has its pings answered, although they lie behind its data', async () => {
    await listener.stop();
    const clock = new FakeClock();
    await start(clock);
    const { writer, reader } = await create({ buffer_size: 1 });
    const from = await RawChannel.open(url, writer, PYTHON);
    const to = await RawChannel.open(url, reader, {}, { paused: true });
    const TOTAL = 160; // 10 MiB: more than one socket's buffers, less than is read in one go
    for (let i = 0; i < TOTAL; i++) from.send(Buffer.alloc(UNIT, i));
    let pongs = 0;
    from.ws.on('pong', () => pongs++);
    from.ws.ping();
    await waitFor(() => core.channels.bufferedBytes >= UNIT);
    expect(pongs).toBe(0);
    // Until it reads, time passes only here.
    await waitFor(
      async () => {
        await clock.advance(1_000);
        return pongs === 1;
      },
      { everyMs: 20 },
    );
    to.ws.resume();
    from.close();
    await to.closed();
    expect(to.closeCode).toBe(1005);
    expect(to.messages.map((message) => (message as Buffer)[0])).toEqual(
      Array.from({ length: TOTAL }, (_, i) => i % 256),
    );
  });
});

describe('a writer that has written everything and is held back', () => {
  it('gets its Close through before its socket gives up waiting for the answer', async () => {
    await listener.stop();
    const clock = new FakeClock();
    await start(clock);
    const { writer, reader } = await create();
    const from = await RawChannel.open(url, writer, {}, { closeTimeout: 5_000 });
    const TOTAL = 240; // 15 MiB: more than the buffer and the kernels' buffers of both sides
    for (let i = 0; i < TOTAL; i++) from.send(Buffer.alloc(UNIT, i));
    from.close();
    await waitFor(() => core.channels.bufferedBytes >= 64 * UNIT);
    await clock.advance(10_000);
    expect(await from.closed()).toEqual([1000, 'stream_complete']);
    const to = await RawChannel.open(url, reader);
    expect(await to.closed()).toEqual([1005, '']);
    expect(to.messages.map((message) => (message as Buffer)[0])).toEqual(Array.from({ length: TOTAL }, (_, i) => i));
  });

  it('is read from once, and no further while nobody takes anything', async () => {
    await listener.stop();
    const clock = new FakeClock();
    await start(clock);
    const { writer } = await create({ buffer_size: 1 });
    const from = await RawChannel.open(url, writer);
    for (let i = 0; i < 800; i++) from.send(Buffer.alloc(UNIT));
    await waitFor(() => core.channels.bufferedBytes >= UNIT);
    await clock.advance(10_000);
    await waitFor(() => core.channels.bufferedBytes >= 12 * 1024 * 1024);
    for (let i = 0; i < 10; i++) await clock.advance(10_000);
    await worker.ask('nobody::here', null);
    expect(core.channels.bufferedBytes).toBeLessThan(14 * 1024 * 1024);
  });
});

describe('a reader from which nothing comes', () => {
  const PING_EVERY_MS = 20_000;
  const PATIENCE_MS = 15 * 60_000;
  let clock: FakeClock;
  let from: RawChannel;

  /** Every ping but those of the last few intervals has left. */
  async function pinged(to: RawChannel, pings: () => number, ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += PING_EVERY_MS) {
      const before = pings();
      await clock.advance(PING_EVERY_MS);
      await waitFor(() => pings() > before || to.closeCode !== undefined);
    }
  }

  async function open(autoPong: boolean): Promise<{ to: RawChannel; pings: () => number }> {
    await listener.stop();
    clock = new FakeClock();
    await start(clock);
    const { writer, reader } = await create();
    from = await RawChannel.open(url, writer);
    const to = await RawChannel.open(url, reader, {}, { autoPong });
    let pings = 0;
    to.ws.on('ping', () => pings++);
    return { to, pings: () => pings };
  }

  it('is cut off after 15 minutes, and its writer hears of it', async () => {
    const { to, pings } = await open(false);
    await pinged(to, pings, PATIENCE_MS);
    expect(to.closeCode).toBeUndefined();
    await pinged(to, pings, PING_EVERY_MS);
    expect(await to.closed()).toEqual([1006, '']);
    expect(await from.closed()).toEqual([1011, 'reader_gone']);
  });

  it('stays while it answers pings, or takes what is written', async () => {
    const { to, pings } = await open(true);
    await pinged(to, pings, PATIENCE_MS + 5 * PING_EVERY_MS);
    expect(to.closeCode).toBeUndefined();
    const silent = await open(false);
    for (let minutes = 0; minutes < 30; minutes += 10) {
      await pinged(silent.to, silent.pings, 10 * 60_000);
      from.send(Buffer.alloc(1_000));
      await waitFor(() => silent.to.bytes >= (minutes / 10 + 1) * 1_000);
    }
    expect(silent.to.closeCode).toBeUndefined();
  });

  it('stays after the whole engine stood still: it has not been asked', async () => {
    const { to } = await open(false);
    vi.spyOn(clock, 'monotonic').mockReturnValue(clock.monotonic() + 2 * PATIENCE_MS);
    await clock.advance(2 * PING_EVERY_MS);
    expect(to.closeCode).toBeUndefined();
  });
});

describe('a reader that is slow to the end', () => {
  afterEach(() => void vi.useRealTimers());

  it('gets all of it and the end, however long it stands still after the writer has gone', async () => {
    const { writer, reader } = await create({ buffer_size: 1_024 });
    // More than the kernels' buffers of both sides keep: the rest waits in this process.
    const TOTAL_BYTES = 40 * 1024 * 1024;
    const from = await RawChannel.open(url, writer);
    from.send(Buffer.alloc(TOTAL_BYTES, 7));
    await waitFor(() => core.channels.bufferedBytes > TOTAL_BYTES);
    const to = await RawChannel.open(url, reader, {}, { paused: true });
    // The timers of the WebSocket library are real ones.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    from.close();
    while (core.channels.size > 0) await new Promise((resolve) => setImmediate(resolve));
    vi.advanceTimersByTime(5 * 60_000);
    vi.useRealTimers();
    to.ws.resume();
    expect(await to.closed()).toEqual([1005, '']);
    expect(to.bytes).toBe(TOTAL_BYTES);
  });
});
