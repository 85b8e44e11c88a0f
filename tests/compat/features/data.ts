import { waitFor } from '@trine/testing';
import { expect } from 'vitest';
import type { ClientProcess, Note } from '../client-process.js';
import type { Feature } from './feature.js';

/** What a function that notes has been given, once it is so much. */
async function noted(client: ClientProcess, functionId: string, count: number): Promise<unknown[]> {
  const notes = await waitFor(
    async () => {
      const found = await client.do<Note[]>('notes', { function_id: functionId });
      return found.length >= count ? found : undefined;
    },
    { what: `${count} events at ${functionId}` },
  );
  return notes.map(({ data }) => data);
}

export const data: readonly Feature[] = [
  {
    id: 'state',
    title: 'state and its triggers',
    async run({ engine, client, partner }) {
      const scope = `of-${client.name}`;
      const at = { scope, key: 'a' };
      const watcher = partner.id(`watch-${scope}`);
      await partner.do('serve', { function_id: watcher, behaviour: 'note' });
      await partner.do('bind', { type: 'state', function_id: watcher, config: { scope }, handle: watcher });
      await engine.bound(watcher);

      expect(await client.result('state::set', { ...at, value: { n: 1 } })).toEqual({
        old_value: null,
        new_value: { n: 1 },
      });
      expect(await client.result('state::get', at)).toEqual({ n: 1 });
      expect(await client.call({ function_id: 'state::get', payload: { ...at, key: 'missing' } })).toEqual({
        result: null,
        is_absent: true,
      });
      const ops = [
        { type: 'set', path: 'name', value: 'ü' },
        { type: 'increment', path: 'n', by: 2 },
        { type: 'append', path: 'list', value: 1 },
      ];
      expect(await client.result('state::update', { ...at, ops })).toMatchObject({
        old_value: { n: 1 },
        new_value: { n: 3, name: 'ü', list: [1] },
      });
      expect(await client.result('state::list', { scope })).toEqual([{ n: 3, name: 'ü', list: [1] }]);
      expect(JSON.stringify(await client.result('state::list_groups', {}))).toContain(scope);
      await client.result('state::delete', at);
      expect(await client.result('state::list', { scope })).toEqual([]);

      const events = await noted(partner, watcher, 3);
      expect(events).toHaveLength(3);
      for (const event of [
        { event_type: 'state:created', new_value: { n: 1 } },
        { event_type: 'state:updated', old_value: { n: 1 } },
        { event_type: 'state:deleted', old_value: { n: 3, name: 'ü', list: [1] } },
      ]) {
        expect(events).toContainEqual(expect.objectContaining({ type: 'state', scope, key: 'a', ...event }));
      }
    },
  },
  {
    id: 'streams',
    title: 'streams and their triggers',
    async run({ engine, client, partner }) {
      const stream_name = `log-${client.name}`;
      const group = { stream_name, group_id: 'g' };
      const at = { ...group, item_id: 'one' };
      const watcher = partner.id(`watch-${stream_name}`);
      await partner.do('serve', { function_id: watcher, behaviour: 'note' });
      await partner.do('bind', { type: 'stream', function_id: watcher, config: { stream_name }, handle: watcher });
      await engine.bound(watcher);

      expect(await client.result('stream::set', { ...at, data: { n: 1 } })).toEqual({
        old_value: null,
        new_value: { n: 1 },
      });
      expect(await client.result('stream::get', at)).toEqual({ n: 1 });
      expect(await client.result('stream::get', { ...at, item_id: 'missing' })).toBeNull();
      expect(
        await client.result('stream::update', { ...at, ops: [{ type: 'merge', path: ['a', 'b'], value: { c: 1 } }] }),
      ).toMatchObject({ old_value: { n: 1 }, new_value: { n: 1, a: { b: { c: 1 } } } });
      expect(await client.result('stream::list', group)).toEqual([{ n: 1, a: { b: { c: 1 } } }]);
      expect(await client.result('stream::list_groups', { stream_name })).toEqual(['g']);
      await client.result('stream::send', { ...group, type: 'ping', data: { hello: 1 } });
      expect(await client.result('stream::delete', at)).toEqual({ old_value: { n: 1, a: { b: { c: 1 } } } });

      const events = await noted(partner, watcher, 4);
      expect(events).toHaveLength(4);
      for (const event of [
        { type: 'create', data: { n: 1 } },
        { type: 'update', data: { n: 1, a: { b: { c: 1 } } } },
        { type: 'event', event: { type: 'ping', data: { hello: 1 } } },
        { type: 'delete', data: { n: 1, a: { b: { c: 1 } } } },
      ]) {
        expect(events).toContainEqual(
          expect.objectContaining({ type: 'stream', streamName: stream_name, groupId: 'g', event }),
        );
      }
    },
  },
  {
    id: 'custom-streams',
    title: 'stream kept by the client',
    async run({ engine, client, partner }) {
      const stream_name = `kept-by-${client.name}`;
      const group = { stream_name, group_id: 'g' };
      const at = { ...group, item_id: 'one' };
      const watcher = partner.id(`watch-${stream_name}`);
      await partner.do('serve', { function_id: watcher, behaviour: 'note' });
      await partner.do('bind', { type: 'stream', function_id: watcher, config: { stream_name }, handle: watcher });
      await engine.bound(watcher);
      await client.do('keep_stream', { name: stream_name });
      await engine.served(
        ...['get', 'set', 'delete', 'list', 'list_groups'].map((op) => `stream::${op}(${stream_name})`),
      );

      expect(await partner.result('stream::set', { ...at, data: { n: 1 } })).toMatchObject({ new_value: { n: 1 } });
      expect(await partner.result('stream::get', at)).toEqual({ n: 1 });
      expect(await partner.result('stream::list', group)).toEqual([{ n: 1 }]);
      expect(await partner.result('stream::list_groups', { stream_name })).toEqual(['g']);
      await partner.result('stream::delete', at);
      expect(await partner.result('stream::get', at)).toBeNull();
      expect(await client.do('notes', { function_id: stream_name })).toEqual([{ set: 'one' }, { delete: 'one' }]);
      expect(await noted(partner, watcher, 2)).toMatchObject([
        { event: { type: 'create', data: { n: 1 } } },
        { event: { type: 'delete' } },
      ]);
    },
  },
  {
    id: 'pubsub',
    title: 'publish and subscribe',
    async run({ engine, client, partner }) {
      const topic = `news-of-${client.name}`;
      const readers = [client, partner];
      const id = (reader: ClientProcess): string => reader.id(`on-${topic}`);
      for (const reader of readers) {
        await reader.do('serve', { function_id: id(reader), behaviour: 'note' });
        await reader.do('bind', { type: 'subscribe', function_id: id(reader), config: { topic }, handle: topic });
        await engine.bound(id(reader));
      }
      await client.result('publish', { topic: 'another', data: { n: 0 } });
      for (const n of [1, 2]) await client.result('publish', { topic, data: { n } });
      for (const reader of readers) {
        const seen = (await noted(reader, id(reader), 2)) as { n: number }[];
        expect(seen.map(({ n }) => n).sort()).toEqual([1, 2]);
      }
      await partner.do('unbind', { handle: topic });
      await engine.bound(id(partner), 0);
      await client.result('publish', { topic, data: { n: 3 } });
      await noted(client, id(client), 3);
      expect(await noted(partner, id(partner), 2)).toHaveLength(2);
    },
  },
  {
    id: 'topics',
    title: 'durable topic',
    async run({ engine, client, partner }) {
      const topic = `ledger-of-${client.name}`;
      const reader = partner.id(`on-${topic}`);
      const only = client.id('only-even');
      await client.do('serve', { function_id: only, behaviour: 'answer', options: { value: false } });
      await partner.do('serve', { function_id: reader, behaviour: 'note' });
      await engine.served(only, reader);
      const type = 'durable:subscriber';
      await partner.do('bind', { type, function_id: reader, config: { topic }, handle: topic });
      await partner.do('bind', {
        type,
        function_id: only,
        config: { topic, condition_function_id: only },
        handle: `${topic}-never`,
      });
      await engine.bound(reader);
      for (const n of [1, 2, 3]) await client.result('iii::durable::publish', { topic, data: { n, list: [n] } });
      const seen = await noted(partner, reader, 3);
      // Exactly what was published, nothing added.
      expect(seen).toHaveLength(3);
      for (const n of [1, 2, 3]) expect(seen).toContainEqual({ n, list: [n] });
    },
  },
];
