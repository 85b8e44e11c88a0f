/** Channels and HTTP streams under unmodified SDKs of two languages, each with each of the others. */
import { createHash } from 'node:crypto';
import { createEngine, type Engine } from '@trine/engine';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pythonWith } from '../support/python.js';
import { WorkerProcess } from '../support/worker-process.js';
import { startNodeStreamer, type ExchangeResult } from './fixtures/streamer.js';

/** Virtual environments are made where none are yet, in milliseconds. */
const SETUP_TIMEOUT_MS = 170_000;
const CALL_TIMEOUT_MS = 120_000;
const MB = 1_000_000;

const PYTHON: Readonly<Record<string, string>> = { 'py-0-11': 'iii-sdk==0.11.6', 'py-0-22': 'iii-sdk==0.22.1' };
const NODE = { 'node-0-11': '0.11', 'node-0-22': '0.22' } as const;
const PEERS = [...Object.keys(NODE), ...Object.keys(PYTHON)];
const ROUTES_PER_PEER = 5;

let folder: TempFolder;
let engine: Engine;
let base: string;
const processes: WorkerProcess[] = [];
const shutdowns: (() => Promise<void>)[] = [];

beforeAll(async () => {
  folder = await tempFolder('trine-streams-');
  engine = await createEngine({
    cwd: folder.path,
    logLevel: 'silent',
    config: {
      workers: [
        { name: 'iii-worker-manager', config: { port: 0 } },
        { name: 'iii-http', config: { port: 0 } },
      ],
    },
  });
  await engine.start();
  base = `http://127.0.0.1:${engine.ports['http']}`;
  for (const [name, version] of Object.entries(NODE)) shutdowns.push(startNodeStreamer(version, name, engine.url));
  await Promise.all(
    Object.entries(PYTHON).map(async ([name, requirement]) => {
      const python = await pythonWith([requirement]);
      const env = { III_URL: engine.url, PEER: name, OTEL_ENABLED: 'false' };
      processes.push(new WorkerProcess(python, [join(import.meta.dirname, 'fixtures', 'streamer.py')], { env }));
    }),
  );
  const bound = async (): Promise<number> => {
    const { registered_triggers: rows } = await engine
      .worker('test')
      .trigger<unknown, { registered_triggers: { trigger_type: string }[] }>({
        function_id: 'engine::registered-triggers::list',
        payload: {},
      });
    return rows.filter(({ trigger_type }) => trigger_type === 'http').length;
  };
  try {
    await waitFor(async () => (await bound()) === PEERS.length * ROUTES_PER_PEER, { timeoutMs: 60_000, everyMs: 50 });
  } catch (error) {
    throw new Error(processes.map(({ output }) => output).join('\n'), { cause: error });
  }
}, SETUP_TIMEOUT_MS);

afterAll(async () => {
  await Promise.all(processes.map((each) => each.kill()));
  await Promise.all(shutdowns.map((shutdown) => shutdown()));
  await engine?.stop();
  await folder?.remove();
});

async function exchange(from: string, target: string, size: number): Promise<void> {
  const texts = ['first', 'grüß 🎈', 'x'.repeat(100_000)];
  const result = await engine.worker('test').trigger<unknown, ExchangeResult>({
    function_id: `${from}::exchange`,
    payload: { target, size, texts },
    timeoutMs: CALL_TIMEOUT_MS,
  });
  expect(result.size).toBe(size);
  expect(result.received).toBe(result.sent);
  expect(result.texts).toEqual(texts.map((text) => text.toUpperCase()));
}

const channelsLeft = (): number => engine.core.channels.size;

describe.each(PEERS)('channels - made by a worker on %s', (from) => {
  it('carry bytes and text to workers on every SDK and back', async () => {
    for (const target of PEERS) await exchange(from, target, 1 * MB + 17);
    await waitFor(() => channelsLeft() === 0);
  });
});

describe('channels - large transfers', () => {
  it.each([
    ['node-0-22', 'py-0-22'],
    ['py-0-22', 'node-0-22'],
    ['node-0-11', 'py-0-11'],
    ['py-0-11', 'node-0-11'],
  ])('of 50 MB go from %s to %s and back', async (from, target) => {
    await exchange(from, target, 50 * MB);
    await waitFor(() => channelsLeft() === 0);
    expect(engine.core.channels.bufferedBytes).toBe(0);
  });
});

describe.each(PEERS)('HTTP streams - a handler on %s', (peer) => {
  const hash = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');

  it('receives uploads byte for byte, JSON beside its parsed value', async () => {
    const file = Buffer.alloc(20 * MB, 'pdf');
    const upload = await fetch(`${base}/${peer}/upload`, {
      method: 'POST',
      body: file,
      headers: { 'content-type': 'application/pdf' },
    });
    expect(await upload.json()).toEqual({ hash: hash(file), size: file.length, parsed: null });
    const json = '{"z":2, "a":1}';
    const parsed = await fetch(`${base}/${peer}/upload`, {
      method: 'POST',
      body: json,
      headers: { 'content-type': 'application/json' },
    });
    expect(await parsed.json()).toEqual({ hash: hash(json), size: json.length, parsed: { z: 2, a: 1 } });
  });

  it('sends downloads byte for byte with its status and headers', async () => {
    const size = 20 * MB + 5;
    const response = await fetch(`${base}/${peer}/download?size=${size}`);
    expect([response.status, response.headers.get('content-type'), response.headers.get('content-length')]).toEqual([
      206,
      'application/pdf',
      String(size),
    ]);
    const body = Buffer.from(await response.arrayBuffer());
    expect([body.length, body[0], body[size - 1]]).toEqual([size, 0, 200]);
  });

  it('sends events one by one', async () => {
    const response = await fetch(`${base}/${peer}/events`);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
    const parts: string[] = [];
    const decoder = new TextDecoder();
    for await (const part of response.body as AsyncIterable<Uint8Array>) parts.push(decoder.decode(part));
    expect(parts.join('')).toBe('data: 0\n\ndata: 1\n\ndata: 2\n\n');
    expect(parts.length).toBeGreaterThan(1);
  });

  it('may answer with a status alone, or with nothing', async () => {
    for (const path of ['empty', 'void']) {
      const response = await fetch(`${base}/${peer}/${path}`);
      expect([response.status, await response.text()]).toEqual([204, '']);
    }
    await waitFor(() => channelsLeft() === 0);
  });
});
