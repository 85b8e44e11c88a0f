/** Pub/sub and state of several engines on one real Redis server. */
import { CuttingProxy, RedisServer, redisServerProgram, waitFor } from '@trine/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { onRedis } from './adapters.js';
import { Beds } from './beds.js';
import type { BrokerBed } from './broker-bed.js';

let server: RedisServer;
const beds = new Beds();

function withPubsub(more: object = {}): Promise<BrokerBed> {
  return beds.start({ name: 'pubsub', config: { adapter: onRedis(server, more) } });
}

/** What a function of an engine gets from a topic. */
async function listen(own: BrokerBed, functionId: string, topic: string): Promise<unknown[]> {
  const seen = own.seenBy(functionId);
  await own.client.registerTrigger({ type: 'subscribe', function_id: functionId, config: { topic } }).ready;
  return seen;
}

describe.skipIf(redisServerProgram === undefined)('on one Redis (needs redis-server)', () => {
  beforeAll(async () => {
    server = await RedisServer.start();
  });
  afterEach(async () => {
    await beds.stop();
    await server.command('FLUSHALL');
  });
  afterAll(() => server.stop());

  describe('pub/sub', () => {
    it('reaches every subscription of every engine once, whoever publishes', async () => {
      const [a, b] = [await withPubsub(), await withPubsub()];
      const heard = [
        await listen(a, 'a::one', 'news'),
        await listen(a, 'a::two', 'news'),
        await listen(b, 'b::one', 'news'),
      ];
      const other = await listen(b, 'b::other', 'weather');
      await a.call('publish', { topic: 'news', data: { n: 1 } });
      await b.call('publish', { topic: 'news', data: { n: 2 } });
      await b.call('publish', { topic: 'weather', data: 'sun' });
      await waitFor(() => heard.every((seen) => seen.length >= 2) && other.length >= 1);
      // One more round shows that nothing came twice.
      await a.call('publish', { topic: 'news', data: 'last' });
      await waitFor(() => heard.every((seen) => seen.includes('last')));
      for (const seen of heard) {
        expect(seen).toHaveLength(3);
        expect(seen).toEqual(expect.arrayContaining([{ n: 1 }, { n: 2 }, 'last']));
      }
      expect(other).toEqual(['sun']);
    });

    it('uses the topic as the channel and the JSON of the data as the message, as other programs do', async () => {
      const own = await withPubsub();
      const seen = await listen(own, 'a::one', 'plain');
      expect(await server.command('PUBLISH', 'plain', '{"from":"elsewhere"}')).toBe(':1\r\n');
      await waitFor(() => seen.length === 1);
      expect(seen).toEqual([{ from: 'elsewhere' }]);
      await server.command('PUBLISH', 'plain', 'no-json{');
      await own.call('publish', { topic: 'plain', data: [1.5] });
      await waitFor(() => seen.length === 2);
      expect(seen[1]).toEqual([1.5]);
      expect(own.log.filter((line) => line.includes('not JSON'))).toHaveLength(1);
    });

    it('keeps one subscription of the server per topic, until the last trigger goes', async () => {
      const own = await withPubsub();
      const trigger = (id: string): ReturnType<typeof own.client.registerTrigger> => {
        own.client.registerFunction(id, () => null);
        return own.client.registerTrigger({ type: 'subscribe', function_id: id, config: { topic: 'few' } });
      };
      const triggers = [trigger('a::one'), trigger('a::two')];
      await Promise.all(triggers.map(({ ready }) => ready));
      const subscribers = (): Promise<string> => server.command('PUBSUB', 'NUMSUB', 'few');
      expect(await subscribers()).toMatch(/:1\r\n$/);
      triggers[0]?.unregister();
      await own.call('publish', { topic: 'few', data: 1 });
      expect(await subscribers()).toMatch(/:1\r\n$/);
      triggers[1]?.unregister();
      await waitFor(async () => (await subscribers()).endsWith(':0\r\n'));
    });

    it('subscribes again after its connection was cut, says so in its health, and refuses while it is away', async () => {
      const proxy = beds.keep(await CuttingProxy.start(server.port));
      const own = await withPubsub({ redis_url: `redis://127.0.0.1:${proxy.port}` });
      const seen = await listen(own, 'a::one', 'news');
      const { connections } = proxy;
      proxy.cut();
      // One for messages, one for everything else.
      await waitFor(() => proxy.connections === connections + 2);
      await waitFor(async () => (await own.health('pubsub')).status === 'healthy');
      await waitFor(async () => (await server.command('PUBSUB', 'NUMSUB', 'news')).endsWith(':1\r\n'));
      await own.call('publish', { topic: 'news', data: 'after a cut' });
      await waitFor(() => seen.length === 1);
      const { port } = proxy;
      await proxy.stop();
      await waitFor(async () => (await own.state('pubsub')) === 'unreachable');
      await expect(own.call('publish', { topic: 'news', data: 'lost' })).rejects.toMatchObject({
        code: 'publish_failed',
        message: expect.stringContaining('cannot be reached') as string,
      });
      beds.keep(await CuttingProxy.start(server.port, port));
      await waitFor(async () => (await own.health('pubsub')).status === 'healthy');
      await own.call('publish', { topic: 'news', data: 'after an outage' });
      await waitFor(() => seen.length === 2);
      expect(seen).toEqual(['after a cut', 'after an outage']);
    });
  });

  describe('state', () => {
    const withState = (): Promise<BrokerBed> =>
      beds.start({ name: 'state', config: { adapter: onRedis(server), max_value_bytes: 100 } });

    it('is one for all engines, with triggers where the change was made', async () => {
      const [a, b] = [await withState(), await withState()];
      const seen = a.seenBy('a::changed');
      await a.client.registerTrigger({ type: 'state', function_id: 'a::changed', config: { scope: 's' } }).ready;
      expect(await a.call('state::set', { scope: 's', key: 'k', value: { n: 1 } })).toEqual({
        old_value: null,
        new_value: { n: 1 },
      });
      expect(await b.call('state::get', { scope: 's', key: 'k' })).toEqual({ n: 1 });
      const ops = [{ type: 'increment', path: 'n', by: 2 }];
      expect(await b.call('state::update', { scope: 's', key: 'k', ops })).toMatchObject({ new_value: { n: 3 } });
      expect(await a.call('state::delete', { scope: 's', key: 'k' })).toEqual({ n: 3 });
      expect(await b.call('state::list', { scope: 's' })).toEqual([]);
      expect(await b.call('state::list_groups', {})).toEqual({ groups: [] });
      await waitFor(() => seen.length === 2);
      expect(seen).toMatchObject([
        { event_type: 'state:created', key: 'k', old_value: null, new_value: { n: 1 } },
        { event_type: 'state:deleted', key: 'k', old_value: { n: 3 }, new_value: null },
      ]);
      await expect(b.call('state::set', { scope: 's', key: 'k', value: 'x'.repeat(200) })).rejects.toMatchObject({
        code: 'VALUE_TOO_LARGE',
      });
      expect(await a.health('state')).toMatchObject({ status: 'healthy', details: { durability: 'full' } });
    });
  });
});
