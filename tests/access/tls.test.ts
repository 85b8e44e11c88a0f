/** Certificates of the worker port and the http worker: served, renewed, and kept when the new ones are bad. */
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { request } from 'node:https';
import { X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createEngine, createLog, type Engine } from '@trine/engine';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { WebSocket } from 'ws';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { install, selfSigned, type Certificate } from './certificate.js';

const TLS = { cert: 'cert.pem', key: 'key.pem' };
let first: Certificate;
let second: Certificate;
let folder: TempFolder;
let engine: Engine;
let log = '';

beforeAll(async () => {
  [first, second] = await Promise.all([selfSigned(), selfSigned()]);
});
beforeEach(async () => {
  folder = await tempFolder();
  await install(folder.path, first);
  log = '';
});
afterEach(async () => {
  await engine.stop();
  await folder.remove();
});

async function create(workers: readonly object[], options: object = {}): Promise<Engine> {
  engine = await createEngine({
    cwd: folder.path,
    log: createLog({ level: 'info', format: 'json', stream: { write: (text) => void (log += text) } }),
    ...options,
    config: { workers },
  });
  return engine;
}

/** The serial number of the certificate that a port shows. */
function serialOf(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(socket.getPeerX509Certificate()?.serialNumber ?? '');
      socket.destroy();
    });
    socket.once('error', reject);
  });
}
const serial = ({ cert }: Certificate): string => new X509Certificate(cert).serialNumber;

function get(port: number, ca: string, path = '/hello'): Promise<string> {
  return new Promise((resolve, reject) => {
    request({ port, host: '127.0.0.1', path, ca, agent: false }, (response) => {
      let body = `${response.statusCode} `;
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.once('end', () => resolve(body));
    })
      .once('error', reject)
      .end();
  });
}

function ping(url: string, ca: string): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url, { ca });
    ws.once('error', reject).on('message', (data: Buffer) => {
      if (data.toString().includes('pong')) resolve(ws);
    });
    ws.once('open', () => ws.send('{"type":"ping"}'));
  });
}

describe('the worker port', () => {
  const start = async (): Promise<number> => {
    await create([{ name: 'iii-worker-manager', config: { port: 0, tls: TLS } }], {
      heartbeat: { intervalMs: 50, busyPatienceMs: 1_000 },
    });
    await engine.start();
    return engine.ports['iii-worker-manager'] as number;
  };

  it('serves workers over TLS, keeps them alive, and says so in its url', async () => {
    const port = await start();
    expect(engine.url).toBe(`wss://127.0.0.1:${port}`);
    const ws = await ping(engine.url, first.cert);
    let pings = 0;
    ws.on('ping', () => pings++);
    await waitFor(() => pings > 5);
    expect(ws.readyState).toBe(WebSocket.OPEN);
    await expect(ping(`ws://127.0.0.1:${port}`, '')).rejects.toThrow();
    let code: number | undefined;
    ws.once('close', (closed) => (code = closed));
    await engine.stop();
    await waitFor(() => code !== undefined);
    expect(code).toBe(1012);
  });

  it('takes renewed files for new connections and keeps old ones open', async () => {
    const port = await start();
    const ws = await ping(engine.url, first.cert);
    await install(folder.path, second);
    await waitFor(async () => (await serialOf(port)) === serial(second), { what: 'the new certificate' });
    expect(ws.readyState).toBe(WebSocket.OPEN);
    expect(log).not.toContain('not renewed');
    (await ping(engine.url, second.cert)).terminate();
    ws.terminate();
  });

  it('refuses bad files, says so once, keeps the old ones and takes the next good ones', async () => {
    const port = await start();
    await writeFile(join(folder.path, 'key.pem'), second.key);
    await waitFor(() => log.includes('certificate not renewed'), { what: 'a word in the log' });
    expect(await serialOf(port)).toBe(serial(first));
    await writeFile(join(folder.path, 'cert.pem'), 'not a certificate');
    await waitFor(() => log.split('certificate not renewed').length === 3, { what: 'a second word in the log' });
    expect(await serialOf(port)).toBe(serial(first));
    await install(folder.path, second);
    await waitFor(async () => (await serialOf(port)) === serial(second), { what: 'the new certificate' });
  });

  it('stops at once, in the middle of a handshake too', async () => {
    const port = await start();
    const socket = connectTcp(port, '127.0.0.1');
    let closed = false;
    socket.on('close', () => (closed = true)).on('error', () => undefined);
    await waitFor(() => socket.readyState === 'open');
    await engine.stop();
    await waitFor(() => closed);
  });

  it.each([
    ['a file that is not there', { cert: 'gone.pem', key: 'key.pem' }, /gone\.pem cannot be read/],
    ['a key of another certificate', { cert: 'cert.pem', key: 'other.pem' }, /belongs to another certificate/],
    ['an empty file', { cert: 'empty.pem', key: 'key.pem' }, /no certificate and its key/],
  ])('does not start with %s', async (_name, tls, message) => {
    await writeFile(join(folder.path, 'other.pem'), second.key);
    await writeFile(join(folder.path, 'empty.pem'), '');
    await create([{ name: 'iii-worker-manager', config: { port: 0, tls } }]);
    await expect(engine.start()).rejects.toMatchObject({
      code: 'tls_unusable',
      message: expect.stringMatching(message) as string,
    });
  });
});

describe('the http worker', () => {
  const start = async (config: object): Promise<number> => {
    await create([
      { name: 'iii-worker-manager', config: { port: 0 } },
      { name: 'iii-http', config },
    ]);
    await engine.start();
    const worker = engine.worker('w');
    worker.registerFunction('hello', async () => ({ status_code: 200, body: 'hello' }));
    await worker.registerTrigger({ type: 'http', function_id: 'hello', config: { api_path: 'hello' } }).ready;
    return engine.ports['http'] as number;
  };
  const reconfigure = (value: object): Promise<unknown> =>
    engine.worker('w').trigger({ function_id: 'configuration::set', payload: { id: 'iii-http', value } });

  it('serves HTTPS and renews its certificate', async () => {
    const port = await start({ port: 0, tls: TLS });
    expect(await get(port, first.cert)).toBe('200 "hello"');
    await expect(fetch(`http://127.0.0.1:${port}/hello`)).rejects.toThrow();
    await install(folder.path, second);
    await waitFor(async () => (await serialOf(port)) === serial(second), { what: 'the new certificate' });
    expect(await get(port, second.cert)).toBe('200 "hello"');
  });

  it('switches TLS on, over and off while it runs; a bad certificate changes nothing', async () => {
    const port = await start({ port: 0 });
    await reconfigure({ port });
    const url = `http://127.0.0.1:${port}/hello`;
    await reconfigure({ port, tls: TLS });
    expect(await get(port, first.cert)).toBe('200 "hello"');

    await writeFile(join(folder.path, 'cert2.pem'), second.cert);
    await writeFile(join(folder.path, 'key2.pem'), second.key);
    await expect(reconfigure({ port, tls: { cert: 'cert2.pem', key: 'key.pem' } })).rejects.toThrow(
      /another certificate/,
    );
    expect(await serialOf(port)).toBe(serial(first));
    await reconfigure({ port, tls: { cert: 'cert2.pem', key: 'key2.pem' } });
    expect(await serialOf(port)).toBe(serial(second));

    await reconfigure({ port });
    expect(await (await fetch(url)).text()).toBe('"hello"');
  });
});

describe('the stream port', () => {
  /** Connects; resolves with the first message after joining. */
  function join(port: number, ca: string): Promise<{ readonly ws: WebSocket; readonly text: string }> {
    return new Promise((resolve, reject) => {
      const ws = new WebSocket(`${ca === '' ? 'ws' : 'wss'}://127.0.0.1:${port}`, { ca });
      ws.once('error', reject).on('message', (data: Buffer) => resolve({ ws, text: data.toString() }));
      ws.once('open', () =>
        ws.send(JSON.stringify({ type: 'join', data: { subscriptionId: 's', streamName: 'chat', groupId: 'g' } })),
      );
    });
  }

  it('serves wss, renews its certificate, and switches TLS off while clients stay', async () => {
    await create([
      { name: 'iii-worker-manager', config: { port: 0 } },
      { name: 'iii-stream', config: { port: 0, host: '127.0.0.1', tls: TLS } },
    ]);
    await engine.start();
    const port = engine.ports['stream'] as number;
    const { ws, text } = await join(port, first.cert);
    expect(text).toContain('"sync"');
    await expect(join(port, '')).rejects.toThrow();
    await install(folder.path, second);
    await waitFor(async () => (await serialOf(port)) === serial(second), { what: 'the new certificate' });
    const set = (config: object): Promise<unknown> =>
      engine.worker('w').trigger({ function_id: 'configuration::set', payload: { id: 'iii-stream', value: config } });
    await expect(set({ port, host: '127.0.0.1', tls: { cert: 'gone.pem', key: 'key.pem' } })).rejects.toThrow(
      'gone.pem',
    );
    (await join(port, second.cert)).ws.terminate();
    await set({ port, host: '127.0.0.1' });
    (await join(port, '')).ws.terminate();
    expect(ws.readyState).toBe(WebSocket.OPEN);
    ws.terminate();
  });
});
