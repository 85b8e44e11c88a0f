import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { EngineProcess, freePort } from '../support/engine-process.js';
import { FastSocket } from '../support/fast-socket.js';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { STACK_TRACE_LINE } from '../support/stack-trace.js';
import { FrameMaker } from './frame-maker.js';

const FRAMES = 24_000;
/** Then a good call must be answered on the same connection: frames are handled in order. */
const BATCH = 400;
const RAW_CONNECTIONS = 200;
/** Of a connection that says nothing sensible; the engine closes it, or the test does. */
const RAW_DEADLINE_MS = 200;

let folder: TempFolder;
let port: number;
let engine: EngineProcess;
let victim: RawWorker;

beforeAll(async () => {
  folder = await tempFolder();
  port = await freePort();
  const workers = [
    { name: 'iii-worker-manager', config: { port } },
    { name: 'iii-http', config: { port: 0 } },
    { name: 'iii-queue' },
    { name: 'iii-state' },
    { name: 'iii-pubsub' },
  ];
  await writeFile(join(folder.path, 'config.yaml'), stringify({ workers }));
  engine = await EngineProcess.start({ cwd: folder.path, port });
  victim = await RawWorker.connect(`ws://127.0.0.1:${port}`);
  victim.serve('victim::echo', (data) => data);
});

afterAll(async () => {
  victim.drop();
  await engine.kill();
  await folder.remove();
});

async function isUnharmed(): Promise<void> {
  expect(engine.isRunning, engine.output.slice(-2_000)).toBe(true);
  expect(victim.isOpen).toBe(true);
  expect(await victim.call('victim::echo', { n: 1 })).toMatchObject({ n: 1 });
  expect(engine.output).not.toMatch(STACK_TRACE_LINE);
}

describe('bad frames', () => {
  test(`${FRAMES} malformed frames: the engine lives, each readable call is answered once, others notice nothing`, async () => {
    const random = new SeededRandom(testSeed('bad frames'));
    const maker = new FrameMaker(random);
    const answers = new Map<string, number>();
    const expected = new Map<string, string>();
    const closes: number[] = [];
    const socket: FastSocket = await FastSocket.open(
      `ws://127.0.0.1:${port}`,
      (text) => {
        expect(text).not.toMatch(/"stacktrace":null/);
        const frame = JSON.parse(text) as { type: string; invocation_id?: string };
        // Some of its registrations hold, under odd names: it serves what it has registered.
        if (frame.type === 'invokefunction')
          socket.send(JSON.stringify({ ...frame, type: 'invocationresult', result: null }));
        if (frame.type === 'invocationresult' && frame.invocation_id !== undefined) {
          answers.set(frame.invocation_id, (answers.get(frame.invocation_id) ?? 0) + 1);
        }
      },
      (code) => closes.push(code),
    );
    try {
      for (let sent = 0, batch = 0; sent < FRAMES; batch++) {
        for (let i = 0; i < BATCH; i++, sent++) {
          const { bytes, answerTo } = maker.next();
          if (answerTo !== undefined) expected.set(answerTo, String(bytes));
          socket.send(bytes);
        }
        const good = `ffffffff-0000-4000-8000-${String(batch).padStart(12, '0')}`;
        socket.send(
          JSON.stringify({ type: 'invokefunction', invocation_id: good, function_id: 'victim::echo', data: { batch } }),
        );
        await waitFor(() => answers.get(good) === 1 || closes.length > 0, {
          timeoutMs: 30_000,
          what: `the call behind ${sent} frames`,
        });
        expect(closes).toEqual([]);
      }
      // What reached a function that answers later, or the disk, may still be on its way.
      const unanswered = (): string[] => [...expected].filter(([id]) => !answers.has(id)).map(([, text]) => text);
      await waitFor(() => unanswered().length === 0, { timeoutMs: 20_000, everyMs: 100 }).catch(() => undefined);
      expect(unanswered().slice(0, 5)).toEqual([]);
      expect(expected.size).toBeGreaterThan(FRAMES / 4);
      expect([...expected.keys()].filter((id) => answers.get(id) !== 1)).toEqual([]);
      expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    } finally {
      socket.drop();
    }
    await isUnharmed();
  });

  test('raw bytes instead of WebSocket frames end their own connection only', async () => {
    const random = new SeededRandom(testSeed('raw bytes'));
    const upgrade =
      `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
    const heads = [
      upgrade,
      upgrade,
      '',
      'GET / HTTP/1.1\r\n\r\n',
      'POST /otel HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n',
      'GET /nowhere HTTP/9.9\r\n',
    ];
    const heavy = [
      Buffer.from([0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
      Buffer.from([0x81, 0x83, 1, 2, 3, 4, 0xfe, 0xfd, 0xfc]),
    ];
    const one = (): Promise<void> =>
      new Promise((resolve) => {
        const socket = connect(port, '127.0.0.1', () => {
          const noise = Buffer.from(Array.from({ length: random.between(0, 400) }, () => random.between(0, 255)));
          socket.write(
            Buffer.concat([Buffer.from(random.pick(heads)), random.chance(0.3) ? random.pick(heavy) : noise]),
          );
        });
        const timer = setTimeout(() => socket.destroy(), RAW_DEADLINE_MS);
        socket.on('error', () => undefined).on('data', () => undefined);
        socket.on('close', () => {
          clearTimeout(timer);
          resolve();
        });
      });
    for (let i = 0; i < RAW_CONNECTIONS; i += 20) await Promise.all(Array.from({ length: 20 }, one));
    await isUnharmed();
  });

  test.each([
    ['an unknown function', 'no::such', {}, undefined, 'function_not_found', 'Function no::such not found'],
    [
      'an unknown queue',
      'victim::echo',
      {},
      { type: 'enqueue', queue: 'defalt' },
      'enqueue_error',
      "Queue 'defalt' not found. Did you mean 'default'?",
    ],
    ['a missing field', 'state::set', { scope: 's' }, undefined, 'deserialization_error', 'key'],
    ['a wrong type', 'state::get', { scope: 's', key: 5 }, undefined, 'deserialization_error', 'key'],
  ])('%s is answered with its code and no stack trace', async (_what, functionId, data, action, code, message) => {
    const { error } = (await victim.ask(functionId, data, action === undefined ? {} : { action })) as unknown as {
      error: Record<string, string>;
    };
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) as string });
    expect(error).not.toHaveProperty('stacktrace');
    await isUnharmed();
  });
});
