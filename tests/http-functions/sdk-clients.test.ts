/** Official SDKs register functions that live behind an HTTPS address, on an engine of its own. */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import * as sdk11 from 'iii-sdk-0.11';
import * as sdk22 from 'iii-sdk-0.22';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { EngineProcess, freePort } from '../support/engine-process.js';

/** A certificate for `localhost`, signed by itself, that the engine of this test is told to trust. */
const CERTIFICATE = join(import.meta.dirname, 'fixtures', 'localhost-cert.pem');
const KEY = join(import.meta.dirname, 'fixtures', 'localhost-key.pem');

interface Arrived {
  readonly method: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
}

const CLIENTS = { '0.11': sdk11, '0.22': sdk22 } as const;
type Client = ReturnType<typeof sdk22.registerWorker>;

let folder: TempFolder;
let server: Server;
let url: string;
let port: number;
let engine: EngineProcess;
const arrived: Arrived[] = [];
const clients = new Map<string, Client>();

async function configure(...workers: object[]): Promise<void> {
  const all = [{ name: 'iii-worker-manager', config: { port } }, { name: 'iii-queue' }, ...workers];
  await writeFile(join(folder.path, 'config.yaml'), stringify({ workers: all }));
}

beforeAll(async () => {
  folder = await tempFolder();
  server = createServer({ key: readFileSync(KEY), cert: readFileSync(CERTIFICATE) }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body: unknown = JSON.parse(Buffer.concat(chunks).toString());
      arrived.push({ method: request.method, headers: request.headers, body });
      if (request.url === '/fail') response.writeHead(409).end('{"error":{"code":"taken","message":"already there"}}');
      else response.end(JSON.stringify({ ok: true, echo: body }));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `https://localhost:${(server.address() as AddressInfo).port}`;
  port = await freePort();
  await configure({ name: 'iii-http-functions', config: { security: { block_private_ips: false } } });
  const env = { NODE_EXTRA_CA_CERTS: CERTIFICATE, REMOTE_TOKEN: 'let-me-in' };
  engine = await EngineProcess.start({ cwd: folder.path, port, env });
  for (const [version, sdk] of Object.entries(CLIENTS)) {
    clients.set(version, sdk.registerWorker(`ws://127.0.0.1:${port}`, { workerName: `node-${version}` }));
  }
});

afterAll(async () => {
  await Promise.all([...clients.values()].map((client) => client.shutdown()));
  await engine.kill();
  await new Promise((resolve) => server.close(resolve));
  await folder.remove();
});

async function known(client: Client, id: string): Promise<boolean> {
  const list = await client.trigger<unknown, { functions: { function_id: string }[] }>({
    function_id: 'engine::functions::list',
    payload: {},
  });
  return list.functions.some(({ function_id }) => function_id === id);
}

describe.each(Object.keys(CLIENTS))('a client of %s', (version) => {
  const client = (): Client => clients.get(version) as Client;

  it('registers one, calls it as any other, enqueues for it, and takes it back', async () => {
    const id = `remote::echo-${version}`;
    const remote = client().registerFunction(id, {
      url: `${url}/echo`,
      method: 'PUT',
      timeout_ms: 10_000,
      headers: { 'X-Client': version },
      auth: { type: 'bearer', token_key: 'REMOTE_TOKEN' },
    });
    await waitFor(() => known(client(), id));
    const answer = await client().trigger<unknown, object>({ function_id: id, payload: { n: 1 } });
    expect(answer).toMatchObject({ ok: true, echo: { n: 1 } });
    expect(arrived.at(-1)).toMatchObject({
      method: 'PUT',
      headers: { 'x-client': version, authorization: 'Bearer let-me-in', 'x-iii-function-path': id },
      body: { n: 1 },
    });
    const before = arrived.length;
    await client().trigger({
      function_id: id,
      payload: { job: 1 },
      action: sdk22.TriggerAction.Enqueue({ queue: 'default' }),
    });
    await waitFor(() => arrived.length === before + 1);
    expect(arrived.at(-1)?.body).toEqual({ job: 1 });
    remote.unregister();
    await waitFor(async () => !(await known(client(), id)));
    await expect(client().trigger({ function_id: id, payload: {} })).rejects.toMatchObject({
      code: 'function_not_found',
    });
  });

  it('sees the error of the other side', async () => {
    const id = `remote::fail-${version}`;
    client().registerFunction(id, { url: `${url}/fail` });
    await waitFor(() => known(client(), id));
    await expect(client().trigger({ function_id: id, payload: {} })).rejects.toMatchObject({
      code: 'taken',
      message: expect.stringContaining('already there') as string,
    });
  });
});

describe('an engine whose configuration changes', () => {
  it('keeps the functions and applies new rules to them; without the worker they are gone', async () => {
    const [client] = [...clients.values()] as [Client];
    const call = (): Promise<unknown> => client.trigger({ function_id: 'remote::ruled', payload: {} });
    client.registerFunction('remote::ruled', { url });
    await waitFor(() => known(client, 'remote::ruled'));
    expect(await call()).toMatchObject({ ok: true });
    const codeOf = (): Promise<unknown> =>
      call().then(
        () => 'answered',
        (error: { code: string }) => error.code,
      );
    await configure({ name: 'iii-http-functions' });
    await waitFor(async () => (await codeOf()) === 'url_validation_failed');
    await configure();
    await waitFor(async () => (await codeOf()) === 'function_not_found');
    expect(engine.isRunning).toBe(true);
  });
});
