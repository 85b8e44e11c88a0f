/** What every adapter does. */
import { waitFor } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Decision } from '../../job.js';
import { House, type SuiteAdapter, type SuiteStore } from './house.js';

const FAILED: Decision = {
  kind: 'postpone',
  delayMs: 1_000,
  attempts: 1,
  lost: 0,
  failures: [{ at: 1, error: 'broken' }],
};
const DEAD: Decision = {
  kind: 'dead',
  error: 'broken for good',
  code: 'invocation_failed',
  attempts: 3,
  lost: 0,
  failures: [{ at: 1, error: 'broken for good' }],
};
const PAGE = { offset: 0, limit: 50, maxBytes: 1024 * 1024 };

export function coreSuite(adapter: SuiteAdapter): void {
  describe('core', () => {
    let store: SuiteStore;
    let house: House;
    beforeEach(async () => {
      store = await adapter.store();
      house = await House.open(store);
    });
    afterEach(async () => {
      await house.stop();
      await store.remove();
    });

    it('declares what it is', () => {
      expect(house.broker.adapter).toBe(adapter.adapter);
      expect([...house.broker.capabilities].sort()).toEqual([...adapter.capabilities].sort());
      expect(house.broker.health().state).toBe('ready');
    });

    it('gives back exactly what was accepted, once, with the receipt of the answer', async () => {
      const line = await house.queue();
      const job = house.job(null, {
        data: '{"price":1.0,"big":12345678901234567890,"text":"\\u00e9"}',
        metadata: '{"user":7}',
        traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        baggage: 'a=b',
      });
      const { receipt, deduplicated } = await house.broker.accept(line, job);
      expect(deduplicated).toBe(false);
      const lease = await house.lease(line);
      expect(lease.line).toBe(line);
      expect(lease.job).toMatchObject({
        receipt,
        functionId: 'f',
        namespace: 'default',
        data: job.data,
        metadata: job.metadata,
        traceparent: job.traceparent,
        baggage: job.baggage,
        createdAt: job.createdAt,
        maxAttempts: 3,
        backoffMs: 1_000,
        attempts: 0,
        redelivered: false,
      });
      expect(await house.nothing(line)).toBe(true);
      expect(await house.broker.stats([line])).toMatchObject({ waiting: 0, running: 1, delayed: 0 });
      await house.broker.settle(lease, { kind: 'done' });
      expect(await house.nothing(line)).toBe(true);
      await house.restart();
      expect(await house.nothing(await house.queue())).toBe(true);
    });

    it('keeps a receipt that the client chose', async () => {
      const line = await house.queue();
      expect(await house.accept(line, 1, { receipt: 'my-own' })).toBe('my-own');
      expect((await house.lease(line)).job.receipt).toBe('my-own');
    });

    it('keeps what it answered when the engine dies at once', async () => {
      const line = await house.queue();
      const receipts = await Promise.all(Array.from({ length: 20 }, (_, i) => house.accept(line, i)));
      expect(new Set(receipts).size).toBe(20);
      await house.restart();
      const again = await house.queue();
      expect(await house.drain(again, 20)).toEqual(Array.from({ length: 20 }, (_, i) => i));
      expect(await house.nothing(again)).toBe(true);
    });

    it('delivers what was leased by an engine that died again, without a charge', async () => {
      const line = await house.queue();
      const receipt = await house.accept(line, 1);
      await house.lease(line);
      await house.restart();
      const lease = await house.lease(await house.queue());
      expect(lease.job).toMatchObject({ receipt, attempts: 0, redelivered: true });
    });

    it('keeps the order of a standard queue with one consumer', async () => {
      const line = await house.queue({}, 'q', 1);
      for (let i = 0; i < 50; i++) await house.accept(line, i);
      expect(await house.drain(line, 50)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    });

    it('runs a failed job again after its delay, with its attempts and errors, over a restart', async () => {
      const line = await house.queue();
      const receipt = await house.accept(line, 1);
      await house.broker.settle(await house.lease(line), FAILED);
      expect(await house.nothing(line)).toBe(true);
      expect(await house.broker.stats([line])).toMatchObject({ waiting: 0, running: 0, delayed: 1 });
      await house.restart();
      const again = await house.queue();
      await store.pass(1_000);
      const lease = await house.lease(again);
      expect(lease.job).toMatchObject({ receipt, attempts: 1, redelivered: true });
      expect(lease.job.failures).toEqual([{ at: 1, error: 'broken' }]);
    });

    it('gives a released job to the next one at once', async () => {
      const line = await house.queue();
      const receipt = await house.accept(line, 1);
      await house.broker.settle(await house.lease(line), { kind: 'release', delayMs: 0 });
      expect((await house.lease(line)).job).toMatchObject({ receipt, attempts: 0, redelivered: true });
    });

    it('lets a job wait for its function while others pass', async () => {
      const line = await house.queue();
      await house.accept(line, 'late', { functionId: 'absent' });
      await house.accept(line, 'now');
      expect(await house.drain(line, 1)).toEqual(['now']);
      expect(await house.nothing(line)).toBe(true);
      expect((await house.broker.stats([line])).waiting).toBe(1);
      house.appear('absent');
      expect(await house.drain(line, 1)).toEqual(['late']);
    });

    it('keeps the order of each fifo group, whatever fails, and lets other groups go on', async () => {
      const line = await house.queue({ serial: true });
      for (const data of ['a1', 'b1', 'a2', 'b2']) await house.accept(line, data, { group: data[0] });
      const first = [await house.lease(line), await house.lease(line)];
      expect(first.map(({ job }) => JSON.parse(job.data) as string).sort()).toEqual(['a1', 'b1']);
      expect(await house.nothing(line)).toBe(true);
      for (const lease of first) await house.broker.settle(lease, lease.job.group === 'a' ? FAILED : { kind: 'done' });
      expect(await house.drain(line, 1)).toEqual(['b2']);
      expect(await house.nothing(line)).toBe(true); // a2 waits for a1
      await store.pass(1_000);
      expect(await house.drain(line, 2)).toEqual(['a1', 'a2']);
    });

    it('keeps a fifo group in order over a restart in the middle', async () => {
      const line = await house.queue({ serial: true });
      for (let i = 0; i < 6; i++) await house.accept(line, i, { group: 'g' });
      expect(await house.drain(line, 2)).toEqual([0, 1]);
      await house.lease(line);
      await house.restart();
      expect(await house.drain(await house.queue({ serial: true }), 4)).toEqual([2, 3, 4, 5]);
    });

    it('lets a fifo group go on after a dead letter; a redriven job goes to its tail', async () => {
      const line = await house.queue({ serial: true });
      for (const data of [1, 2]) await house.accept(line, data, { group: 'g' });
      await house.broker.settle(await house.lease(line), DEAD);
      expect(await house.broker.redrive(line)).toBe(1);
      expect(await house.drain(line, 2)).toEqual([2, 1]);
    });

    it('keeps dead letters with the real error, newest first, and moves them back', async () => {
      const line = await house.queue();
      const receipts = [await house.accept(line, 'x'), await house.accept(line, 'y')];
      await house.broker.settle(await house.lease(line), DEAD);
      await store.pass(10);
      await house.broker.settle(await house.lease(line), DEAD);
      await house.restart();
      const again = await house.queue();
      expect((await house.broker.stats([again])).dead).toBe(2);
      const { letters, total, cut } = await house.broker.browseDead([again], PAGE);
      expect({ total, cut }).toEqual({ total: 2, cut: false });
      expect(letters.map(({ receipt }) => receipt)).toEqual([...receipts].reverse());
      expect(letters[0]).toMatchObject({
        data: '"y"',
        functionId: 'f',
        attempts: 3,
        error: 'broken for good',
        code: 'invocation_failed',
      });
      expect(JSON.parse(letters[0]?.failures ?? '')).toEqual([{ at: 1, error: 'broken for good' }]);
      expect(await house.broker.redriveOne([again], letters[1]?.jobId ?? '')).toBe(true);
      expect(await house.broker.redriveOne([again], receipts[1] ?? '')).toBe(true);
      expect(await house.broker.redriveOne([again], 'unknown')).toBe(false);
      const lease = await house.lease(again);
      expect(lease.job).toMatchObject({ receipt: receipts[0], attempts: 0 });
      await house.broker.settle(lease, { kind: 'done' });
      expect(await house.drain(again, 1)).toEqual(['y']);
      expect((await house.broker.stats([again])).dead).toBe(0);
    });

    it('restamps retries when asked to', async () => {
      const line = await house.queue();
      await house.accept(line, 1);
      await house.broker.settle(await house.lease(line), DEAD);
      expect(await house.broker.redrive(line, { restamp: { maxAttempts: 9, backoffMs: 5 } })).toBe(1);
      expect((await house.lease(line)).job).toMatchObject({ maxAttempts: 9, backoffMs: 5 });
    });

    it('ends a page before it is larger than asked for', async () => {
      const line = await house.queue();
      for (let i = 0; i < 4; i++) await house.accept(line, 'x'.repeat(1_000));
      for (let i = 0; i < 4; i++) await house.broker.settle(await house.lease(line), DEAD);
      const page = await house.broker.browseDead([line], { ...PAGE, maxBytes: 2_500 });
      expect(page).toMatchObject({ total: 4, cut: true });
      expect(page.letters).toHaveLength(2);
      expect((await house.broker.browseDead([line], { ...PAGE, offset: 2 })).letters).toHaveLength(2);
      expect((await house.broker.browseDead([line], { ...PAGE, maxBytes: 1 })).letters).toHaveLength(1);
    });

    it('brings a message to each subscription, also to one whose worker is away', async () => {
      const f = await house.subscription('f');
      const g = await house.subscription('g');
      await house.broker.leave(g, 'offline');
      await house.broker.publish(house.message(1));
      expect(await house.drain(f, 1)).toEqual([1]);
      await house.restart();
      expect(await house.drain(await house.subscription('g'), 1)).toEqual([1]);
      expect(await house.nothing(await house.subscription('f'))).toBe(true);
    });

    it('gives an ended subscription nothing new, and its backlog when it is back', async () => {
      const f = await house.subscription('f');
      await house.broker.publish(house.message(1));
      await house.broker.leave(f, 'ended');
      await house.subscription('g');
      await house.broker.publish(house.message(2));
      expect(await house.drain(await house.subscription('f'), 1)).toEqual([1]);
      expect(await house.nothing(f)).toBe(true);
    });

    it('knows all its lines after a restart, and what their subscribers said', async () => {
      await house.queue();
      await house.subscription('f', { maxAttempts: 7 });
      await house.restart();
      const lines = await house.broker.lines();
      expect(lines.map(({ kind, name, functionId }) => [kind, name, functionId]).sort()).toEqual([
        ['queue', 'q', ''],
        ['subscription', 't', 'f'],
      ]);
      const [line] = await house.broker.lines({ kind: 'subscription', name: 't' });
      expect(line?.settings?.maxAttempts).toBe(7);
      expect(line).toBe((await house.broker.lines({ kind: 'subscription' }))[0]);
    });

    it('leases nothing while it drains, and still stores what comes', async () => {
      const line = await house.queue();
      await house.accept(line, 1);
      const running = await house.lease(line);
      house.broker.drain();
      const receipt = await house.accept(line, 2);
      expect(await house.nothing(line)).toBe(true);
      await house.broker.settle(running, { kind: 'done' });
      await house.restart();
      expect((await house.lease(await house.queue())).job.receipt).toBe(receipt);
    });

    it('works off more than it holds at hand, in order', async () => {
      const line = await house.queue({}, 'q', 1);
      const count = 1_500;
      await Promise.all(Array.from({ length: count }, (_, i) => house.accept(line, i)));
      expect(await house.drain(line, count)).toEqual(Array.from({ length: count }, (_, i) => i));
    });

    it.skipIf(adapter.adapter === 'builtin')('goes on after its connection was cut, and loses nothing', async () => {
      const line = await house.queue();
      const kept = await house.accept(line, 'before');
      const heal = await store.cut?.();
      expect(heal, 'the store can be cut').toBeDefined();
      await waitFor(() => house.broker.health().state !== 'ready');
      await heal?.();
      await waitFor(() => house.broker.health().state === 'ready');
      await waitFor(() => house.accept(line, 'after').catch(() => undefined));
      const seen = new Set<string>();
      await waitFor(async () => {
        const lease = house.broker.reserve(line);
        if (lease === undefined) return false;
        seen.add(lease.job.receipt);
        await house.broker.settle(lease, { kind: 'done' });
        return seen.size >= 2;
      });
      expect(seen.has(kept)).toBe(true);
    });
  });
}
