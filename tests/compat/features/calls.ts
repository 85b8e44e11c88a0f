import { waitFor } from '@trine/testing';
import { expect } from 'vitest';
import { isSince, METADATA_SINCE } from '../clients.js';
import type { Outcome } from '../client-process.js';
import type { Feature } from './feature.js';

/** What JSON can hold and bad handling breaks. */
const PAYLOAD = {
  text: 'ü 漢 🙂 \\ " \n \u2028',
  numbers: [0, -1, 1.5, 1e-7, Number.MAX_SAFE_INTEGER],
  nothing: null,
  yes: true,
  deep: { list: [[], {}, [{ a: '' }]] },
};
const JOBS = 20;

export const calls: readonly Feature[] = [
  {
    id: 'calls',
    title: 'register, call, unregister',
    async run({ engine, client, partner }) {
      for (const [caller, callee] of [
        [client, partner],
        [partner, client],
        [client, client],
      ] as const) {
        const outcome = await caller.call({ function_id: callee.id('echo'), payload: PAYLOAD });
        expect(outcome).toEqual({ result: { from: callee.name, data: PAYLOAD }, is_absent: false });
      }
      // Neither SDK writes `data` where there is no payload.
      expect(await client.result(partner.id('echo'), null)).toEqual({ from: partner.name, data: null });
      await client.do('serve', { function_id: client.id('silent'), behaviour: 'answer' });
      await client.do('serve', { function_id: client.id('list'), behaviour: 'answer', options: { value: [1, 'a'] } });
      await engine.served(client.id('silent'), client.id('list'));
      expect(await partner.result(client.id('silent'))).toBeNull();
      expect(await partner.result(client.id('list'))).toEqual([1, 'a']);

      await client.do('unserve', { function_id: client.id('list') });
      await waitFor(async () => !(await engine.functionIds()).includes(client.id('list')));
      expect((await partner.call({ function_id: client.id('list'), payload: {} })).error).toBeDefined();
    },
  },
  {
    id: 'void',
    title: 'void call',
    async run({ engine, client, partner }) {
      const id = partner.id(`told-by-${client.name}`);
      await partner.do('serve', { function_id: id, behaviour: 'note' });
      await engine.served(id);
      expect(await client.call({ function_id: id, payload: { n: 1 }, void: true })).toMatchObject({ result: null });
      await waitFor(async () => (await partner.notes(id)).length === 1, { what: 'the void call' });
      expect(await partner.noted(id)).toMatchObject([{ n: 1 }]);
      // Nobody hears of one that fails.
      expect(await client.call({ function_id: 'nobody::here', payload: {}, void: true })).toMatchObject({
        result: null,
      });
    },
  },
  {
    id: 'enqueue',
    title: 'enqueue on a named queue',
    async run({ engine, client, partner }) {
      const id = partner.id(`job-of-${client.name}`);
      await partner.do('serve', { function_id: id, behaviour: 'note' });
      await engine.served(id);
      const receipts = new Set<string>();
      for (let n = 0; n < JOBS; n++) {
        const { result } = await client.call({ function_id: id, payload: { group: 'a', n }, queue: 'orders' });
        expect(result).toEqual({ messageReceiptId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string });
        receipts.add((result as { messageReceiptId: string }).messageReceiptId);
      }
      expect(receipts.size).toBe(JOBS);
      const notes = await waitFor(async () => {
        const found = await partner.notes(id);
        return found.length === JOBS ? found : undefined;
      });
      // First in, first out, and nothing added.
      expect(notes.map(({ data }) => data)).toEqual([...Array(JOBS).keys()].map((n) => ({ group: 'a', n })));
      if (isSince(partner.client, METADATA_SINCE)) {
        const told = notes.map(({ metadata }) => (metadata as { queue: { receipt: string } }).queue.receipt);
        expect(new Set(told)).toEqual(receipts);
      }

      const shaky = client.id('shaky');
      await client.do('serve', { function_id: shaky, behaviour: 'stumble', options: { times: 2 } });
      await engine.served(shaky);
      await client.call({ function_id: shaky, payload: { n: 1 }, queue: 'shaky' });
      await waitFor(async () => (await client.notes(shaky)).length === 3, { what: 'the third attempt' });

      const refused = await client.call({ function_id: id, payload: {}, queue: 'no-such-queue' });
      expect(refused.error).toMatchObject({ code: 'enqueue_error' });
      expect(refused.error?.message).toContain('no-such-queue');
    },
  },
  {
    id: 'errors',
    title: 'errors by code and message',
    async run({ engine, client, partner }) {
      const missing = await client.call({ function_id: 'nobody::here', payload: {} });
      expectError(missing, 'function_not_found', 'nobody::here');
      const failed = await client.call({ function_id: partner.id('fail'), payload: {} });
      expectError(failed, 'invocation_failed', `no luck in ${partner.name}`);
      const invalid = await client.call({ function_id: 'state::set', payload: { scope: 7 } });
      expectError(invalid, 'deserialization_error', 'state::set');
      // The handler's error reaches a caller of another SDK as it is.
      expectError(
        await partner.call({ function_id: client.id('fail'), payload: {} }),
        'invocation_failed',
        `no luck in ${client.name}`,
      );

      const slow = partner.id(`slow-for-${client.name}`);
      await partner.do('serve', { function_id: slow, behaviour: 'wait' });
      await engine.served(slow);
      const late = await client.call({ function_id: slow, payload: {}, timeout_ms: 200 });
      // Before 0.11.3 a timeout of the npm package has a message only.
      if (isSince(client.client, { node: '0.11.3', python: '0.0.0', rust: '0.0.0', go: '0.0.0' })) {
        expect(late.error).toMatchObject({ code: 'TIMEOUT' });
      }
      expect(late.error?.message).toMatch(/time(d )?out/i);
      // The late answer harms nobody.
      await partner.do('open', { gate: slow });
      expect(await client.result(partner.id('echo'), { n: 1 })).toEqual({ from: partner.name, data: { n: 1 } });
    },
  },
  {
    id: 'metadata',
    title: 'metadata of calls',
    async run({ engine, client, partner }) {
      const metadata = { tenant: 'a', deep: { list: [1] } };
      const id = client.id('told');
      await client.do('serve', { function_id: id, behaviour: 'note' });
      await engine.served(id);
      await client.call({ function_id: id, payload: { n: 1 }, metadata });
      await client.call({ function_id: id, payload: { n: 2 } });
      expect((await client.notes(id)).map((note) => note.metadata)).toEqual([metadata, null]);
      // A handler of an older SDK is called as ever.
      expect(await client.call({ function_id: partner.id('echo'), payload: { n: 1 }, metadata })).toMatchObject({
        result: { from: partner.name, data: { n: 1 } },
      });
    },
  },
];

function expectError(outcome: Outcome, code: string, inMessage: string): void {
  expect(outcome.error).toMatchObject({ code });
  expect(outcome.error?.message).toContain(inMessage);
}
