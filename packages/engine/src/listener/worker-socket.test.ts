import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { waitFor } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { WorkerSocket } from './worker-socket.js';

interface Frame {
  readonly fin: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
}

const MIB = 1024 * 1024;
/** What `WorkerSocket` asks of it when it writes. */
const openWebSocket = { readyState: 1, OPEN: 1 } as unknown as WebSocket;

let server: Server;
let received: Buffer[];
let socket: Socket;

beforeEach(async () => {
  received = [];
  server = createServer((peer) => peer.on('data', (bytes) => received.push(bytes)));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await new Promise<void>((done) => socket.once('connect', done));
});
afterEach(() => {
  socket.destroy();
  server.close();
});

/** Sends texts in one turn and reads the frames that come out. */
async function framesOf(...texts: readonly string[]): Promise<Frame[]> {
  const worker = new WorkerSocket(openWebSocket, socket);
  for (const text of texts) worker.send(text);
  worker.flush();
  const length = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  return waitFor(() => {
    const bytes = Buffer.concat(received);
    if (bytes.length < length) return undefined;
    const frames = parse(bytes);
    return frames.reduce((sum, { payload }) => sum + payload.length, 0) === length ? frames : undefined;
  });
}

function parse(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length;) {
    const [first, size] = [bytes.readUInt8(at), bytes.readUInt8(at + 1)];
    const [start, length] =
      size < 126
        ? [at + 2, size]
        : size === 126
          ? [at + 4, bytes.readUInt16BE(at + 2)]
          : [at + 10, Number(bytes.readBigUInt64BE(at + 2))];
    if (start + length > bytes.length) return [];
    frames.push({ fin: first >= 0x80, opcode: first & 0x0f, payload: bytes.subarray(start, start + length) });
    at = start + length;
  }
  return frames;
}

describe('messages', () => {
  it('of one turn leave as one frame each, with the length that fits', async () => {
    const texts = ['', 'a'.repeat(125), 'ä'.repeat(100), 'b'.repeat(65_536)];
    const frames = await framesOf(...texts);
    expect(frames.map(({ payload }) => payload.toString())).toEqual(texts);
    expect(frames.every(({ fin, opcode }) => fin && opcode === 1)).toBe(true);
  });

  it('above 16 MiB leave in pieces of 1 MiB: clients that limit a frame can read them', async () => {
    const big = `x${'é'.repeat(8 * MIB + 10)}`;
    const frames = await framesOf('before', big, 'after');
    expect(frames[0]).toMatchObject({ fin: true, opcode: 1 });
    expect(frames.at(-1)).toMatchObject({ fin: true, opcode: 1, payload: Buffer.from('after') });
    const pieces = frames.slice(1, -1);
    expect(pieces.map(({ opcode }) => opcode)).toEqual([1, ...Array.from({ length: 16 }, () => 0)]);
    expect(pieces.map(({ fin }) => fin)).toEqual([...Array.from({ length: 16 }, () => false), true]);
    expect(Math.max(...pieces.map(({ payload }) => payload.length))).toBe(MIB);
    expect(Buffer.concat(pieces.map(({ payload }) => payload)).equals(Buffer.from(big))).toBe(true);
  });

  it('of 16 MiB stay one frame', async () => {
    expect(await framesOf('x'.repeat(16 * MIB))).toMatchObject([{ fin: true, opcode: 1 }]);
  });

  it('leave before the end of the turn when there are many, or long ones, and in their order', async () => {
    const worker = new WorkerSocket(openWebSocket, socket);
    for (let i = 0; i < 63; i++) worker.send(`${i}`);
    expect(socket.bytesWritten).toBe(0);
    worker.send('63');
    const afterMany = socket.bytesWritten;
    expect(afterMany).toBeGreaterThan(0);
    worker.send('x'.repeat(70_000));
    expect(socket.bytesWritten).toBeGreaterThan(afterMany + 70_000);
    worker.send('last');
    const frames = await waitFor(() => {
      const all = parse(Buffer.concat(received));
      return all.length === 66 ? all : undefined;
    });
    expect(frames.slice(0, 64).map(({ payload }) => payload.toString())).toEqual(
      Array.from({ length: 64 }, (_, i) => `${i}`),
    );
    expect(frames.at(-1)?.payload.toString()).toBe('last');
  });
});
