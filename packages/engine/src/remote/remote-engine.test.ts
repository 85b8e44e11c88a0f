/** What goes between two engines, seen from the socket of the other one. */
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { Payload } from '@trine/protocol';
import { FakeClock, waitFor } from '@trine/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { WebSocketServer, type WebSocket } from 'ws';
import { systemClock, type Clock } from '../core/clock.js';
import { silentLog } from '../core/log.js';
import { systemRandom } from '../core/random.js';
import { RemoteEngine } from './remote-engine.js';

const MIB = 1024 * 1024;
const PING_EVERY_MS = 20_000;
const CONTEXT = { traceparent: undefined, baggage: undefined };

interface Peer {
  readonly ws: WebSocket;
  readonly socket: Socket;
}

let server: WebSocketServer;
let remote: RemoteEngine;
let peers: Peer[];

beforeEach(async () => {
  peers = [];
  server = new WebSocketServer({ port: 0, host: '127.0.0.1', maxPayload: 64 * MIB, autoPong: false });
  server.on('connection', (ws, { socket }) => {
    ws.on('error', () => undefined);
    ws.send('{"type":"workerregistered","worker_id":"w"}');
    peers.push({ ws, socket });
  });
  await once(server, 'listening');
});

afterEach(() => {
  remote.close();
  for (const { ws } of peers) ws.terminate();
  server.close();
});

async function connect(clock: Clock = systemClock): Promise<Peer> {
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  remote = new RemoteEngine({ url, name: 'near', clock, random: systemRandom, log: silentLog });
  remote.open();
  await waitFor(() => remote.isReady && peers.length > 0);
  return peers[0] as Peer;
}

function call(bytes: number): ReturnType<RemoteEngine['invoke']> {
  return remote.invoke({ functionId: 'far', payload: Payload.fromJson(`"${'x'.repeat(bytes)}"`), context: CONTEXT });
}

it('a call above 16 MiB leaves in frames of 1 MiB', async () => {
  const { ws } = await connect();
  let [message, largest] = ['', 0];
  // What one frame carries, as the parser of the receiving socket sees it.
  const receiver = (ws as unknown as { _receiver: { getData: (done: unknown) => void; _payloadLength: number } })
    ._receiver;
  const getData = receiver.getData.bind(receiver);
  receiver.getData = (done) => {
    largest = Math.max(largest, receiver._payloadLength);
    getData(done);
  };
  ws.on('message', (data: Buffer) => (message = data.toString()));
  void call(17 * MIB);
  await waitFor(() => message.length > 17 * MIB);
  expect(JSON.parse(message)).toMatchObject({ type: 'invokefunction', function_id: 'far' });
  expect(largest).toBe(MIB);
});

it('a call above 64 MiB is refused, and the connection with its other calls lives', async () => {
  const { ws } = await connect();
  ws.on('message', (data: Buffer) => {
    const { invocation_id } = JSON.parse(data.toString()) as { invocation_id?: string };
    if (invocation_id !== undefined)
      ws.send(JSON.stringify({ type: 'invocationresult', invocation_id, function_id: 'far', result: 1 }));
  });
  expect(await call(64 * MIB)).toMatchObject({ ok: false, error: { code: 'payload_too_large' } });
  expect(await call(1)).toMatchObject({ ok: true });
  expect([remote.isReady, peers.length]).toEqual([true, 1]);
});

it('a peer is alive while bytes come, also in the middle of a message, and cut when none do', async () => {
  const clock = new FakeClock();
  const { socket } = await connect(clock);
  // A text frame of 1,000 bytes of which only a few come.
  socket.write(Buffer.from([0x81, 126, 1_000 >> 8, 1_000 & 0xff]));
  for (let i = 0; i < 10; i++) {
    socket.write(' ');
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(PING_EVERY_MS);
    expect(remote.isReady).toBe(true);
  }
  expect(socket.destroyed).toBe(false);
  await clock.advance(5 * PING_EVERY_MS);
  await waitFor(() => socket.destroyed);
});
