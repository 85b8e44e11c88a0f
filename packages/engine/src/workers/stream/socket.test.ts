/** The stream socket, message by message. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FakeClock, rawExchange, StreamClient, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../core/log-writer.js';
import { createEngine, type Engine, type EngineOptions } from '../../engine.js';
import { AUTH_TIMEOUT_MS } from './authorize.js';
import { MAX_OUTBOUND_BYTES, MAX_SUBSCRIPTIONS } from './connection.js';
import { MAX_MESSAGE_BYTES } from './stream-server.js';
import { JOIN_TIMEOUT_MS } from './visit-triggers.js';

interface Visit {
  readonly subscription_id: string;
  readonly stream_name: string;
  readonly group_id: string;
  readonly id: string | null;
  readonly context: unknown;
}

describe('the stream socket', () => {
  let folder: TempFolder;
  let engine: Engine;
  let logged: string[];
  const clients: StreamClient[] = [];

  const start = async (stream: object = {}, options: EngineOptions = {}): Promise<void> => {
    const log = createLog({ level: 'info', format: 'json', stream: { write: (text) => logged.push(text) } });
    engine = await createEngine({
      cwd: folder.path,
      log,
      config: {
        workers: [
          { name: 'iii-worker-manager', config: { port: 0 } },
          { name: 'iii-stream', config: { port: 0, ...stream } },
        ],
      },
      ...options,
    });
    await engine.start();
  };
  const connect = async (options: Parameters<typeof StreamClient.connect>[1] = {}): Promise<StreamClient> => {
    const client = await StreamClient.connect(engine.ports['stream'], options);
    clients.push(client);
    return client;
  };
  const call = (op: string, payload: unknown): Promise<unknown> =>
    engine.worker('caller').trigger({ function_id: `stream::${op}`, payload });
  const at = (item_id: string, group_id = 'all'): object => ({ stream_name: 'clicks', group_id, item_id });
  const on = async (type: 'stream:join' | 'stream:leave', handler: (visit: Visit) => unknown, config: object = {}) => {
    const worker = engine.worker('doorman');
    const id = `door::${Math.trunc(performance.now() * 1000)}`;
    worker.registerFunction(id, handler);
    await worker.registerTrigger({ type, function_id: id, config }).ready;
  };

  beforeEach(async () => {
    folder = await tempFolder();
    logged = [];
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.drop();
    await engine.stop();
    await folder.remove();
  });

  describe('subscriptions', () => {
    it('begin with what there is, then tell every change in the same words as triggers', async () => {
      await start();
      await call('set', { ...at('a'), data: { n: 1 } });
      const client = await connect();
      client.join('one', 'clicks', 'all');
      const sync = await client.event('sync');
      expect(sync).toEqual({
        type: 'stream',
        timestamp: expect.any(Number) as number,
        streamName: 'clicks',
        groupId: 'all',
        id: null,
        event: { type: 'sync', data: [{ n: 1 }] },
      });
      await call('set', { ...at('b'), data: 1 });
      await call('update', { ...at('b'), ops: [{ type: 'increment', path: '', by: 1 }] });
      await call('delete', at('b'));
      await call('send', { stream_name: 'clicks', group_id: 'all', type: 'typing', data: [1] });
      await call('set', { ...at('x', 'few'), data: 1 });
      await client.event('event');
      expect(client.frames.slice(1).map(({ id, event }) => [id, event])).toEqual([
        ['b', { type: 'create', data: 1 }],
        ['b', { type: 'update', data: 2 }],
        ['b', { type: 'delete', data: 2 }],
        [null, { type: 'event', event: { type: 'typing', data: [1] } }],
      ]);
    });

    it('of one item get that item, null when there is none, and nothing about the group', async () => {
      await start();
      await call('set', { ...at('a'), data: 1 });
      const client = await connect();
      client.join('one', 'clicks', 'all', 'a');
      client.join('two', 'clicks', 'all', 'b');
      expect((await client.event('sync', ({ id }) => id === 'a')).event.data).toBe(1);
      expect((await client.event('sync', ({ id }) => id === 'b')).event).toEqual({ type: 'sync', data: null });
      await call('send', { stream_name: 'clicks', group_id: 'all', type: 'typing', data: 1 });
      await call('set', { ...at('c'), data: 1 });
      await call('set', { ...at('a'), data: 2 });
      await client.event('update');
      expect(client.types).toEqual(['sync', 'sync', 'update']);
    });

    it('get a copy each; the same id again replaces', async () => {
      await start();
      const client = await connect();
      client.join('one', 'clicks', 'all');
      client.join('two', 'clicks', 'all', null);
      client.join('two', 'clicks', 'all', 'a');
      await client.settled();
      await call('set', { ...at('b'), data: 1 });
      await call('set', { ...at('a'), data: 1 });
      await waitFor(() => client.types.filter((type) => type === 'create').length === 3);
      await client.settled();
      expect(client.frames.filter(({ event }) => event.type === 'create').map(({ id }) => id)).toEqual(['b', 'a', 'a']);
    });

    it('end with a leave', async () => {
      await start();
      const client = await connect();
      client.join('one', 'clicks', 'all');
      client.leave('one', 'clicks', 'all');
      await client.settled();
      await call('set', { ...at('a'), data: 1 });
      await client.settled();
      expect(client.types).not.toContain('create');
    });

    it('take binary frames, ignore what is empty or cannot be understood, and answer pings', async () => {
      await start();
      const client = await connect();
      for (const bad of [
        '',
        ' ',
        'x',
        '1',
        '{}',
        '{"type":"shout","data":{}}',
        '{"type":"join","data":{"streamName":1}}',
      ])
        client.send(bad);
      client.send(
        { type: 'join', data: { subscriptionId: 'one', streamName: 'clicks', groupId: 'all' } },
        { binary: true },
      );
      await client.event('sync');
      expect(client.isOpen).toBe(true);
      expect(client.frames).toHaveLength(1);
      expect(logged.filter((line) => line.includes('message of a stream client ignored'))).toHaveLength(1);
    });

    it('miss nothing and see nothing twice while a group changes', async () => {
      await start();
      let stop = false;
      let written = 0;
      const write = async (): Promise<void> => {
        while (!stop)
          await call('update', { ...at('n'), ops: [{ type: 'increment', path: '', by: 1 }] }).then(() => written++);
      };
      const writers = [write(), write(), write()];
      const seen: { start: number; numbers: number[] }[] = [];
      for (let i = 0; i < 25; i++) {
        const client = await connect();
        client.join('one', 'clicks', 'all', 'n');
        await waitFor(() => client.frames.length > 5);
        client.drop();
        const numbers = client.frames.map(({ event }) => event.data as number | null);
        expect(client.types[0]).toBe('sync');
        seen.push({ start: numbers[0] ?? 0, numbers: numbers.slice(1) as number[] });
      }
      stop = true;
      await Promise.all(writers);
      expect(written).toBeGreaterThan(100);
      for (const { start: first, numbers } of seen) expect(numbers).toEqual(numbers.map((_, i) => first + 1 + i));
    });

    it('of custom streams begin with what their worker answers', async () => {
      await start();
      const worker = engine.worker('notes');
      worker.registerFunction('stream::list(notes)', () => [7]);
      worker.registerFunction('stream::get(notes)', ({ item_id }: { item_id: string }) => ({ item_id }));
      const client = await connect();
      client.join('one', 'notes', 'g');
      client.join('two', 'notes', 'g', 'i');
      expect((await client.event('sync', ({ id }) => id === null)).event.data).toEqual([7]);
      expect((await client.event('sync', ({ id }) => id === 'i')).event.data).toEqual({ item_id: 'i' });
    });

    it('that cannot be read end the connection, so that the client comes back', async () => {
      await start();
      engine.worker('notes').registerFunction('stream::list(notes)', () => {
        throw new Error('no');
      });
      const client = await connect();
      client.join('one', 'notes', 'g');
      await waitFor(() => client.closeCode !== undefined);
      expect(client.closeCode).toBe(1011);
    });
  });

  describe('addresses', () => {
    it('has one path', async () => {
      await start();
      const port = engine.ports['stream'] as number;
      await expect(connect({ path: '/stream' })).rejects.toThrow('404');
      await expect(connect({ path: '/?token=1' })).resolves.toBeDefined();
      expect(await rawExchange(port, 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')).toContain(
        '400 Bad Request',
      );
      expect(await rawExchange(port, 'GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')).toContain(
        '404 Not Found',
      );
      expect(logged.join('')).toContain(`Stream API listening on address: 127.0.0.1:${port}`);
    });

    it('that are taken stop the start', async () => {
      await start();
      const other = await createEngine({
        cwd: folder.path,
        dataDir: 'other',
        logLevel: 'silent',
        config: {
          workers: [
            { name: 'iii-worker-manager', config: { port: 0 } },
            { name: 'iii-stream', config: { port: engine.ports['stream'] } },
          ],
        },
      });
      await expect(other.start()).rejects.toThrow(/is already in use \(worker iii-stream\)/);
      await other.stop();
    });

    it('tells clients of a restart with 1012', async () => {
      await start();
      const client = await connect();
      client.join('one', 'clicks', 'all');
      await client.event('sync');
      await engine.stop();
      await waitFor(() => client.closeCode !== undefined);
      expect(client.closeCode).toBe(1012);
    });
  });

  describe('join and leave functions', () => {
    it('hear of clients with what the auth function gave them', async () => {
      await start({ auth_function: 'auth' });
      const asked: Record<string, unknown>[] = [];
      engine.worker('auth').registerFunction('auth', (request: Record<string, unknown>) => {
        asked.push(request);
        return { context: { user: 'u1' } };
      });
      const joined: Visit[] = [];
      const left: Visit[] = [];
      await on('stream:join', (visit) => void joined.push(visit));
      await on('stream:leave', (visit) => void left.push(visit));
      const client = await connect({ path: '/?token=a%20b&x=1&x=2&y', headers: { 'X-Key': 'k' } });
      expect(asked[0]).toMatchObject({
        path: '/',
        query_params: { token: ['a%20b'], x: ['1', '2'], y: [''] },
        headers: { 'x-key': 'k' },
        addr: expect.stringMatching(/^127\.0\.0\.1:\d+$/) as string,
      });
      client.join('one', 'clicks', 'all');
      client.join('two', 'clicks', 'all', 'a');
      client.leave('none', 'other', 'g');
      await client.settled();
      const visit = { stream_name: 'clicks', group_id: 'all', context: { user: 'u1' } };
      expect(joined.slice(0, 2)).toEqual([
        { ...visit, subscription_id: 'one', id: null },
        { ...visit, subscription_id: 'two', id: 'a' },
      ]);
      await waitFor(() => left.length === 1);
      expect(left[0]).toMatchObject({ subscription_id: 'none', stream_name: 'other' });
      client.drop();
      await waitFor(() => left.length === 4);
      expect(left.slice(1).map(({ subscription_id }) => subscription_id)).toEqual(['one', 'two', 'settled']);
    });

    const answers: [string, (visit: Visit) => unknown, boolean][] = [
      ['nothing', () => undefined, true],
      ['null', () => null, true],
      ['an object', () => ({}), true],
      ['unauthorized: false', () => ({ unauthorized: false }), true],
      ['unauthorized: true', () => ({ unauthorized: true }), false],
      ['unauthorized: "no"', () => ({ unauthorized: 'no' }), false],
      ['text', () => 'yes', false],
      [
        'an error',
        () => {
          throw new Error('broken');
        },
        false,
      ],
    ];
    it.each(answers)('that answer %s: allowed = %s', async (_, handler, allowed) => {
      await start();
      const left: Visit[] = [];
      await on('stream:leave', (visit) => void left.push(visit));
      await on('stream:join', handler, { stream_name: 'clicks' });
      const client = await connect();
      client.join('one', 'clicks', 'all', 'a');
      await client.settled();
      expect(client.types[0]).toBe(allowed ? 'sync' : 'unauthorized');
      await call('set', { ...at('a'), data: 1 });
      await client.settled();
      expect(client.types.includes('create')).toBe(allowed);
      if (allowed) return;
      expect(client.frames[0]).toMatchObject({
        streamName: 'clicks',
        groupId: 'all',
        id: 'a',
        event: { type: 'unauthorized' },
      });
      client.drop();
      await waitFor(() => left.length === 1);
      expect(left[0]?.subscription_id).toBe('settled');
    });

    it('that give no answer in time keep the client out', async () => {
      const clock = new FakeClock();
      await start({}, { clock });
      let asked = 0;
      await on('stream:join', () => new Promise((_resolve) => void asked++));
      const client = await connect();
      client.join('one', 'clicks', 'all');
      await waitFor(() => asked === 1);
      await clock.advance(JOIN_TIMEOUT_MS - 1);
      expect(client.frames).toEqual([]);
      await clock.advance(1);
      await client.event('unauthorized');
    });

    it('that are bound for good keep clients out while their worker is away', async () => {
      await start();
      await engine.worker('operator').trigger({
        function_id: 'engine::register_trigger',
        payload: { trigger_type: 'stream:join', function_id: 'door::later', config: {} },
      });
      await engine.stop();
      await start();
      const client = await connect();
      client.join('one', 'clicks', 'all');
      await client.event('unauthorized');
      engine.worker('doorman').registerFunction('door::later', () => ({ unauthorized: false }));
      client.join('two', 'clicks', 'all');
      await client.event('sync');
    });

    it('are asked one after the other, each only for its stream and under its condition', async () => {
      await start();
      const order: string[] = [];
      const worker = engine.worker('conditions');
      worker.registerFunction('is::private', ({ group_id }: Visit) => group_id === 'private');
      worker.registerFunction('is::broken', () => {
        throw new Error('broken');
      });
      await on('stream:join', async () => {
        await new Promise((resolve) => setImmediate(resolve));
        order.push('first');
      });
      await on('stream:join', () => void order.push('second'), { stream_name: 'clicks' });
      await on('stream:join', () => ({ unauthorized: true }), { condition_function_id: 'is::private' });
      await on('stream:join', () => ({}), { stream_name: 'broken', condition_function_id: 'is::broken' });
      const client = await connect();
      client.join('one', 'clicks', 'all');
      await client.event('sync');
      expect(order).toEqual(['first', 'second']);
      client.join('two', 'clicks', 'private');
      await client.event('unauthorized', ({ groupId }) => groupId === 'private');
      client.join('three', 'broken', 'g');
      await client.event('unauthorized', ({ streamName }) => streamName === 'broken');
    });
  });

  describe('the auth function', () => {
    const answers: [string, () => unknown, boolean][] = [
      ['an object', () => ({}), true],
      ['a context', () => ({ context: 1 }), true],
      ['nothing', () => undefined, false],
      ['null', () => null, false],
      ['a list', () => [], false],
      ['unauthorized', () => ({ unauthorized: true }), false],
      [
        'an error',
        () => {
          throw new Error('broken');
        },
        false,
      ],
    ];
    it.each(answers)('answers %s: allowed = %s', async (_, handler, allowed) => {
      await start({ auth_function: 'auth' });
      engine.worker('auth').registerFunction('auth', handler);
      if (allowed) await expect(connect()).resolves.toBeDefined();
      else await expect(connect()).rejects.toThrow('401');
    });

    it('that nobody offers keeps everybody out', async () => {
      await start({ auth_function: 'auth' });
      await expect(connect()).rejects.toThrow('401');
    });

    it('that gives no answer in time keeps the client out', async () => {
      const clock = new FakeClock();
      await start({ auth_function: 'auth' }, { clock });
      let asked = 0;
      engine.worker('auth').registerFunction('auth', () => new Promise((_resolve) => void asked++));
      const refused = expect(connect()).rejects.toThrow('401');
      await waitFor(() => asked === 1);
      await clock.advance(AUTH_TIMEOUT_MS);
      await refused;
    });
  });

  describe('bounds', () => {
    it('refuses a subscription too many and keeps the others', async () => {
      await start();
      const client = await connect();
      for (let i = 0; i <= MAX_SUBSCRIPTIONS; i++) client.join(`s${i}`, 'clicks', `g${i}`, 'i');
      await client.event('unauthorized', ({ groupId }) => groupId === `g${MAX_SUBSCRIPTIONS}`);
      expect(client.types.filter((type) => type === 'sync')).toHaveLength(MAX_SUBSCRIPTIONS);
      client.join('s0', 'clicks', 'again', 'i');
      await client.event('sync', ({ groupId }) => groupId === 'again');
    });

    it('ends a connection that sends a message too large', async () => {
      await start();
      const client = await connect();
      client.send('x'.repeat(MAX_MESSAGE_BYTES + 1));
      await waitFor(() => client.closeCode !== undefined);
      expect(client.closeCode).toBe(1009);
    });

    it('cuts off a client that does not read, and nobody else', async () => {
      await start();
      const slow = await connect();
      slow.join('one', 'clicks', 'all');
      await slow.event('sync');
      const quick = await connect();
      quick.join('one', 'clicks', 'all');
      await quick.event('sync');
      slow.pause();
      const data = 'x'.repeat(1024 * 1024);
      let sent = 0;
      const cutOff = (): boolean => logged.some((line) => line.includes('it does not read'));
      // What the sockets of the system hold is not the engine's: some more than the bound goes out.
      while (!cutOff() && sent < 100) {
        await call('send', { stream_name: 'clicks', group_id: 'all', type: 'big', data });
        sent++;
        await waitFor(() => quick.frames.length === sent + 1);
      }
      expect(cutOff()).toBe(true);
      expect(sent * data.length).toBeGreaterThan(MAX_OUTBOUND_BYTES);
      expect(sent).toBeLessThan(100);
      await call('set', { ...at('a'), data: 1 });
      await quick.event('create');
      slow.resume();
      await waitFor(() => !slow.isOpen);
    });

    it('lets a client read more than the bound at its own pace', async () => {
      await start();
      const data = 'x'.repeat(4 * 1024 * 1024);
      for (let i = 0; i < 8; i++) await call('set', { ...at('a', `g${i}`), data });
      const client = await connect();
      for (let i = 0; i < 8; i++) client.join(`s${i}`, 'clicks', `g${i}`);
      client.pause();
      await call('list_all', {});
      client.resume();
      await waitFor(() => client.frames.length === 8, { timeoutMs: 20_000 });
      expect(client.isOpen).toBe(true);
    });
  });

  it('takes an edited configuration without losing clients', async () => {
    const file = join(folder.path, 'config.yaml');
    const write = (lines: string): Promise<void> =>
      writeFile(
        file,
        `workers:\n  - name: iii-worker-manager\n    config:\n      port: 0\n  - name: iii-stream\n    config:\n      port: 0\n${lines}`,
      );
    await write('');
    await start({}, { config: 'config.yaml' });
    await call('set', { ...at('a'), data: 1 });
    const client = await connect();
    client.join('one', 'clicks', 'all');
    expect((await client.event('sync')).event.data).toEqual([1]);

    const before = engine.ports['stream'];
    await write('      host: 127.0.0.1\n      auth_function: auth\n');
    await waitFor(async () => {
      await expect(connect()).rejects.toThrow('401');
      return true;
    });
    expect(client.isOpen).toBe(true);
    await call('set', { ...at('a'), data: 2 });
    await client.event('update');

    await write(
      '      host: 127.0.0.1\n      adapter:\n        name: kv\n        config:\n          file_path: data/other\n',
    );
    expect((await client.event('sync', ({ event }) => (event.data as unknown[]).length === 0)).event.data).toEqual([]);
    await call('set', { ...at('b'), data: 3 });
    await client.event('create', ({ id }) => id === 'b');
    expect(before).toBeDefined();
    expect(await readFile(file, 'utf8')).toContain('data/other');
  });
});
