/** Rules and certificates that change while workers are connected. */
import { X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createEngine, type Engine } from '@trine/engine';
import { RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { WebSocket } from 'ws';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { install, selfSigned } from './certificate.js';
import { knock, settled } from './bed.js';

let folder: TempFolder;
let engine: Engine;

beforeEach(async () => {
  folder = await tempFolder();
  engine = await createEngine({
    cwd: folder.path,
    logLevel: 'silent',
    config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }] },
  });
  await engine.start();
  const keeper = engine.worker('keeper');
  keeper.registerFunction('auth', async ({ query_params }: { query_params: Record<string, string[]> }) => {
    if (query_params['token']?.[0] !== 'right') throw new Error('wrong token');
    return {};
  });
  keeper.registerFunction('open::fn', async () => 'open');
  keeper.registerFunction('other::fn', async () => 'other');
});
afterEach(async () => {
  await engine.stop();
  await folder.remove();
});

const port = (): number => engine.ports['iii-worker-manager'] as number;
const change = (value: object): Promise<unknown> =>
  engine.worker('keeper').trigger({
    function_id: 'configuration::set',
    payload: { id: 'iii-worker-manager', value: { port: port(), ...value } },
  });

it('other rules end the sessions of the old ones, which begin again under the new ones', async () => {
  const before = await RawWorker.connect(engine.url);
  expect(await before.call('other::fn', {})).toBe('other');
  const rbac = { auth_function_id: 'auth', expose_functions: ['match("open::*")'] };
  await change({ rbac });
  await waitFor(() => before.closeCode !== undefined);
  expect([1006, 1012]).toContain(before.closeCode);
  expect((await knock(engine.url)).frames).toMatchObject([{ error: { code: 'AUTH_ERROR', message: 'wrong token' } }]);

  const worker = await RawWorker.connect(`${engine.url}?token=right`);
  expect(await worker.call('open::fn', {})).toBe('open');
  await expect(worker.call('other::fn', {})).rejects.toMatchObject({ code: 'FORBIDDEN' });

  await change({ rbac, handshake_timeout_ms: 9_000 });
  await settled(worker);
  await expect(change({ rbac: { nonsense: true } })).rejects.toThrow(/nonsense/);
  await settled(worker);

  await change({ rbac: { ...rbac, expose_functions: ['match("*")'] } });
  await waitFor(() => worker.closeCode !== undefined);
  const again = await RawWorker.connect(`${engine.url}?token=right`);
  expect(await again.call('other::fn', {})).toBe('other');
});

it('TLS goes on, over and off on the same port; a certificate that cannot be read changes nothing', async () => {
  const [first, second] = await Promise.all([selfSigned(), selfSigned()]);
  await install(folder.path, first);
  const number = port();
  const connected = await RawWorker.connect(engine.url);
  const tls = { cert: 'cert.pem', key: 'key.pem' };
  await expect(change({ tls: { ...tls, cert: 'gone.pem' } })).rejects.toThrow(/gone\.pem/);
  await settled(await RawWorker.connect(engine.url));

  await change({ tls });
  expect(engine.url).toBe(`wss://127.0.0.1:${number}`);
  expect(await serialOf(engine.url, first.cert)).toBe(new X509Certificate(first.cert).serialNumber);
  await settled(connected);

  await writeFile(`${folder.path}/cert2.pem`, second.cert);
  await writeFile(`${folder.path}/key2.pem`, second.key);
  await change({ tls: { cert: 'cert2.pem', key: 'key2.pem' } });
  expect(await serialOf(engine.url, second.cert)).toBe(new X509Certificate(second.cert).serialNumber);

  await change({});
  expect(engine.url).toBe(`ws://127.0.0.1:${number}`);
  await settled(await RawWorker.connect(engine.url));
  await settled(connected);
});

function serialOf(url: string, ca: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url, { ca });
    ws.once('error', reject);
    ws.once('upgrade', ({ socket }) => {
      const tls = socket as typeof socket & { getPeerX509Certificate(): X509Certificate | undefined };
      resolve(tls.getPeerX509Certificate()?.serialNumber);
      ws.once('open', () => ws.terminate());
    });
  });
}
