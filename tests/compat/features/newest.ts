import { waitFor } from '@trine/testing';
import { expect } from 'vitest';
import type { Feature } from './feature.js';

const BIG_BYTES = 17 * 1024 * 1024;
/** What SDKs take from an engine that cannot take more, in characters and bytes. */
const SMALL_LIMIT_CHARS = 1024 * 1024;
const BIG_TIMEOUT_MS = 60_000;
/** `observe` must not hang, in milliseconds. */
const OBSERVE_TIMEOUT_MS = 5_000;

/** What the newest clients need of an engine, and what becomes of it with the older ones. */
export const newest: readonly Feature[] = [
  {
    id: 'big-messages',
    title: 'message of 17 MiB both ways',
    async run({ client }) {
      // Out as a call and as an answer, in as both: the client calls itself.
      const words = { function_id: client.id('echo'), text: 'ü', times: BIG_BYTES / 2, timeout_ms: BIG_TIMEOUT_MS };
      expect(await client.do('call_big', words)).toEqual({ length: BIG_BYTES / 2, is_equal: true });
    },
  },
  {
    id: 'small-messages',
    title: 'message over its limit of 1 MiB: refused, and nothing breaks',
    async run({ client, partner, engine }) {
      await client.do('serve', { function_id: client.id('given-big'), behaviour: 'note' });
      await engine.served(client.id('given-big'));
      const payload = { text: 'x'.repeat(SMALL_LIMIT_CHARS + 1) };
      // Given to it, and answered to it.
      const given = await partner.call({ function_id: client.id('given-big'), payload });
      expect(given.error).toMatchObject({ code: 'payload_too_large' });
      const answered = await client.call({ function_id: partner.id('echo'), payload });
      expect(answered.error).toMatchObject({ code: 'payload_too_large' });
      expect(answered.error?.message).toMatch(/channel|upgrade|0\.24/i);
      expect(await client.notes(client.id('given-big'))).toEqual([]);
      expect(await partner.result(client.id('echo'), { n: 1 })).toEqual({ from: client.name, data: { n: 1 } });
    },
  },
  {
    id: 'namespaces',
    title: 'worker in a namespace of its own',
    async run({ engine, client, partner }) {
      const namespace = `space-of-${client.name}`;
      const as = 'spaced';
      await client.do('connect', { as, name: `${client.name}-spaced`, url: engine.url, namespace });
      try {
        await client.do('serve', { as, function_id: 'spaced::echo', behaviour: 'echo' });
        const call = (words: object): ReturnType<typeof client.call> =>
          client.call({ function_id: 'spaced::echo', payload: { n: 1 }, ...words });
        const found = await waitFor(async () => {
          const outcome = await call({ namespace });
          return outcome.error === undefined ? outcome : undefined;
        });
        expect(found.result).toEqual({ from: `${client.name}-spaced`, data: { n: 1 } });
        expect((await call({ as })).result).toEqual({ from: `${client.name}-spaced`, data: { n: 1 } });
        expect((await call({})).error).toMatchObject({ code: 'function_not_found' });
        // Built-ins are everywhere; what others offer stays where it is.
        const at = { scope: namespace, key: 'a' };
        await client.call({ as, function_id: 'state::set', payload: { ...at, value: 1 } });
        expect((await client.call({ as, function_id: 'state::get', payload: at })).result).toBe(1);
        const outside = { as, function_id: partner.id('echo'), payload: {} };
        expect((await client.call(outside)).error).toMatchObject({ code: 'function_not_found' });
        expect((await client.call({ ...outside, namespace: 'default' })).error).toBeUndefined();
        // Configuration is of the whole engine: the SDK asks for it in `default`.
        const listed = await client.call({ as, function_id: 'configuration::list', payload: {} });
        expect(listed.error).toBeUndefined();
      } finally {
        await client.do('disconnect', { as });
      }
    },
  },
  {
    id: 'explicit-null',
    title: 'a result that is null, not absent',
    async run({ engine, client, partner }) {
      await client.do('serve', { function_id: client.id('null'), behaviour: 'answer', options: { value: null } });
      await engine.served(client.id('null'));
      const outcome = await partner.call({ function_id: client.id('null'), payload: {} });
      expect(outcome.result).toBeNull();
      // Only Node tells its callers the difference.
      if (partner.client.language === 'node') expect(outcome.is_absent).toBe(false);
    },
  },
  {
    id: 'observe',
    title: 'observers: refused at once (`UNSUPPORTED`)',
    async run({ client, partner }) {
      const words = { source: partner.id('echo'), target: client.id('news'), timeout_ms: OBSERVE_TIMEOUT_MS };
      expect(await client.do('observe', words)).toEqual({ code: 'UNSUPPORTED' });
      expect(await client.result(partner.id('echo'), { n: 1 })).toEqual({ from: partner.name, data: { n: 1 } });
    },
  },
  {
    id: 'persistent-triggers',
    title: '`engine::register_trigger`, the same at each start',
    async run({ engine, client }) {
      const function_id = client.id('news-by-call');
      const topic = `by-call-${client.name}`;
      await client.do('serve', { function_id, behaviour: 'note' });
      await engine.served(function_id);
      const words = { trigger_type: 'subscribe', function_id, config: { topic } };
      const { id } = await client.result<{ id: string }>('engine::register_trigger', words);
      expect(await client.result('engine::register_trigger', words)).toMatchObject({ id });
      await engine.bound(function_id);
      await client.result('publish', { topic, data: { n: 1 } });
      await waitFor(async () => (await client.notes(function_id)).length === 1);
      expect(await client.result('engine::unregister_trigger', { id })).toMatchObject({ removed: true });
      await engine.bound(function_id, 0);
    },
  },
];
