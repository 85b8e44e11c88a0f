import { RedisServer, redisServerProgram, waitFor } from '@trine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../core/clock.js';
import { createLog } from '../../../core/log-writer.js';
import type { WorkerHost } from '../../../core/worker-host.js';
import { readUpdateOps } from '../../../values/index.js';
import type { StateAdapter } from './index.js';
import { openRedisState } from './redis.js';
import { stateSuite } from './suite/index.js';

const CONTEXT = { traceparent: undefined, baggage: undefined, metadata: undefined };

let server: RedisServer;
let places = 0;

function open(prefix: string, url = server.url): Promise<StateAdapter> {
  const log = createLog({ level: 'error', format: 'json', stream: { write: () => true } });
  const host: Partial<WorkerHost> = { clock: systemClock, log, projectDir: import.meta.dirname };
  return openRedisState(host as WorkerHost, { url, prefix });
}

describe.skipIf(redisServerProgram === undefined)('on a Redis server (needs redis-server)', () => {
  beforeAll(async () => {
    server = await RedisServer.start();
  });
  afterAll(() => server.stop());

  stateSuite('Redis', async () => {
    const prefix = `place${++places}`;
    return {
      open: () => open(prefix),
      close: (adapter) => adapter.close(),
      remove: async () => undefined,
    };
  });

  it('is shared by engines: no update of either is lost, and each sees what the other wrote', async () => {
    const [one, other] = [await open('shared'), await open('shared')];
    const ops = readUpdateOps('state::update', '[{"type":"increment","path":"n","by":1}]');
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? one : other).update('s', 'k', ops, undefined, CONTEXT)),
    );
    const values = answers.map((answer) => ('value' in answer ? answer.value : ''));
    expect(new Set(values).size).toBe(200);
    expect(await one.get('s', 'k', CONTEXT)).toBe('{"n":200}');
    expect(await other.set('s', 'k', '1', CONTEXT)).toBe('{"n":200}');
    expect(await one.get('s', 'k', CONTEXT)).toBe('1');
    expect(await (await open('elsewhere')).get('s', 'k', CONTEXT)).toBeUndefined();
    await one.close();
    await other.close();
  });

  it('refuses at once while the server is away, keeps what it acknowledged, and says how it is', async () => {
    const own = await RedisServer.start();
    const state = await open('away', own.url);
    try {
      await state.set('s', 'k', '1', CONTEXT);
      expect(state.health?.()).toMatchObject({ state: 'ready', durability: 'full' });
      await own.kill();
      await waitFor(() => state.health?.().state === 'unreachable');
      await expect(state.set('s', 'k', '2', CONTEXT)).rejects.toThrow(/cannot be reached/);
      await expect(Promise.resolve(state.get('s', 'k', CONTEXT))).rejects.toThrow(/cannot be reached/);
      await own.restart();
      await waitFor(() => state.health?.().state === 'ready');
      expect(await state.get('s', 'k', CONTEXT)).toBe('1');
      await own.command('CONFIG', 'SET', 'maxmemory', '1');
      await expect(state.set('s', 'new', '2', CONTEXT)).rejects.toThrow(/memory is full/);
      expect(await state.delete('s', 'k', CONTEXT)).toBe('1');
    } finally {
      await state.close();
      await own.stop();
    }
  });
});
