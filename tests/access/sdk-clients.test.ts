/** The official SDKs, unmodified, behind access rules. */
import { waitFor } from '@trine/testing';
import * as sdk11 from 'iii-sdk-0.11';
import * as sdk22 from 'iii-sdk-0.22';
import { afterEach, describe, expect, it } from 'vitest';
import { accessBed, type AccessBed } from './bed.js';

let bed: AccessBed;
const clients: { shutdown(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.shutdown()));
  await bed.stop();
});

const OPTIONS = { otel: { enabled: false } } as const;

describe.each([
  ['0.11.6', sdk11],
  ['0.22.1', sdk22],
])('iii-sdk %s', (version, sdk) => {
  const connect = (url: string, workerName: string, token?: string): ReturnType<typeof sdk22.registerWorker> => {
    const headers = token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } };
    const client = (sdk as typeof sdk22).registerWorker(url, { ...OPTIONS, workerName, ...headers });
    clients.push(client);
    return client;
  };

  it('authenticates, registers under its prefix, calls what it may and hears of what it may not', async () => {
    bed = await accessBed(
      {
        rbac: {
          auth_function_id: 'test::auth',
          expose_functions: ['match("test::*")', { metadata: { public: true } }],
          on_function_registration_function_id: 'test::on-function',
          on_trigger_registration_function_id: 'test::on-trigger',
          on_trigger_type_registration_function_id: 'test::on-type',
        },
        middleware_function_id: 'test::middleware',
      },
      { workers: [{ name: 'iii-pubsub' }, { name: 'iii-queue' }] },
    );
    const server = connect(bed.trusted, `server-${version}`);
    const seen: Record<string, unknown[]> = { auth: [], function: [], trigger: [], type: [], middleware: [] };
    const note = (kind: string, input: unknown): void => void seen[kind]?.push(input);
    server.registerFunction('test::auth', async (input: { headers: Record<string, string> }) => {
      note('auth', input);
      if (input.headers['authorization'] !== 'Bearer valid') throw new Error('invalid token');
      return {
        allowed_functions: [],
        forbidden_functions: ['test::forbidden'],
        allow_trigger_type_registration: true,
        context: { user: 'u1' },
        function_registration_prefix: 'tenant',
      };
    });
    server.registerFunction('test::on-function', async (input: { function_id: string }) => {
      note('function', input);
      if (input.function_id === 'denied') throw new Error('denied');
      return {};
    });
    server.registerFunction('test::on-trigger', async (input: unknown) => (note('trigger', input), {}));
    server.registerFunction('test::on-type', async (input: unknown) => (note('type', input), {}));
    server.registerFunction('test::middleware', async (input: { function_id: string; payload: object }) => {
      note('middleware', input);
      const result = await server.trigger({ function_id: input.function_id, payload: input.payload });
      return { intercepted: true, result };
    });
    server.registerFunction('test::echo', async (input: { n: number }) => ({ n: input.n }));
    server.registerFunction('test::forbidden', async () => 'no');
    server.registerFunction('hidden::fn', async () => 'no');
    await waitFor(async () => {
      const { functions } = await server.trigger<unknown, { functions: { function_id: string }[] }>({
        function_id: 'engine::functions::list',
        payload: {},
      });
      return functions.some(({ function_id }) => function_id === 'hidden::fn');
    });

    const client = connect(bed.guarded, `client-${version}`, 'valid');
    client.registerFunction('own::echo', async (input: { n: number }) => ({ own: input.n }));
    client.registerFunction('denied', async () => 'no');
    client.registerTriggerType(
      { id: 'custom', description: 'of the client' },
      { registerTrigger: async () => undefined, unregisterTrigger: async () => undefined },
    );
    client.registerTrigger({ type: 'subscribe', function_id: 'own::echo', config: { topic: 'x' } });
    const call = (function_id: string, action?: object): Promise<unknown> =>
      client.trigger({ function_id, payload: { n: 5 }, ...(action === undefined ? {} : { action: action as never }) });

    await expect(call('test::echo')).resolves.toEqual({ intercepted: true, result: { n: 5 } });
    for (const id of ['test::forbidden', 'hidden::fn'])
      await expect(call(id)).rejects.toMatchObject({ message: expect.stringContaining(id) as string });
    await expect(call('hidden::fn', { type: 'enqueue', queue: 'default' })).rejects.toThrow(/hidden::fn/);

    await expect(server.trigger({ function_id: 'tenant::own::echo', payload: { n: 7 } })).resolves.toEqual({ own: 7 });
    await expect(server.trigger({ function_id: 'tenant::denied', payload: {} })).rejects.toThrow(/not found/);
    await waitFor(() => seen['trigger']?.length === 1);

    expect(seen['auth']).toHaveLength(1);
    expect(seen['auth']?.[0]).toMatchObject({ headers: { authorization: 'Bearer valid' }, ip_address: '127.0.0.1' });
    expect(seen['function']?.[0]).toMatchObject({ function_id: 'own::echo', context: { user: 'u1' } });
    expect(seen['type']?.[0]).toEqual({
      trigger_type_id: 'custom',
      description: 'of the client',
      context: { user: 'u1' },
    });
    expect(seen['trigger']?.[0]).toMatchObject({
      trigger_type: 'subscribe',
      function_id: 'own::echo',
      config: { topic: 'x' },
      context: { user: 'u1' },
    });
    expect(seen['middleware']?.[0]).toMatchObject({ function_id: 'test::echo', context: { user: 'u1' } });
    expect(seen['middleware']).toHaveLength(1);
  });

  it('with a wrong token never becomes a worker', async () => {
    bed = await accessBed({ rbac: { auth_function_id: 'test::auth' } });
    const server = connect(bed.trusted, `server-${version}`);
    let asked = 0;
    server.registerFunction('test::auth', async () => {
      asked++;
      throw new Error('invalid token');
    });
    await waitFor(() => bed.log().includes('[REGISTERED] Function test::auth'));
    connect(bed.guarded, `intruder-${version}`, 'wrong').registerFunction('intruder::fn', async () => 1);
    await waitFor(() => asked > 0 && bed.log().includes('connection refused'));
    const { workers } = await server.trigger<unknown, { workers: { name: string }[] }>({
      function_id: 'engine::workers::list',
      payload: {},
    });
    expect(workers.map(({ name }) => name)).not.toContain(`intruder-${version}`);
    expect(bed.log()).not.toContain('intruder::fn');
  });
});
