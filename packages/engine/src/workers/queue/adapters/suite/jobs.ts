/** Capabilities of single jobs: delay, priority, unique, expiry, batch, cancel, lookup, late_success, keep_ended. */
import { waitFor } from '@trine/testing';
import { describe, expect, it } from 'vitest';
import type { Capability } from '../index.js';
import type { House } from './house.js';

type Suite = (house: () => House) => void;

export const jobSuites: Partial<Record<Capability, Suite>> = {
  delay: (house) => {
    it('runs a job later, by a delay or at a time, over a restart', async () => {
      const line = await house().queue();
      await house().accept(line, 'delayed', { extras: { delayMs: 3_000 } });
      await house().accept(line, 'at', { extras: { runAt: house().store.now() + 5_000 } });
      await house().accept(line, 'now');
      expect(await house().drain(line, 1)).toEqual(['now']);
      expect(await house().nothing(line)).toBe(true);
      expect(await house().broker.stats([line])).toMatchObject({ waiting: 0, delayed: 2 });
      await house().restart();
      const again = await house().queue();
      await house().store.pass(3_000);
      expect(await house().drain(again, 1)).toEqual(['delayed']);
      await house().store.pass(2_000);
      expect(await house().drain(again, 1)).toEqual(['at']);
    });
  },
  priority: (house) => {
    it('runs higher priorities first, equal ones in order', async () => {
      const line = await house().queue({ maxPriority: 255 }, 'q', 1);
      for (const [data, priority] of [
        ['low', 1],
        ['none', undefined],
        ['high', 255],
        ['high again', 255],
      ] as const) {
        await house().accept(line, data, { extras: { priority } });
      }
      expect(await house().drain(line, 4)).toEqual(['high', 'high again', 'low', 'none']);
    });
  },
  unique: (house) => {
    it('answers the receipt of the job that has the key, until it has ended', async () => {
      const line = await house().queue();
      const extras = { uniqueKey: 'k' };
      const receipt = await house().accept(line, 1, { extras });
      const again = house().job(2, { extras });
      expect(await house().broker.accept(line, again)).toEqual({ receipt, deduplicated: true });
      await house().restart();
      const same = await house().queue();
      expect(await house().broker.accept(same, again)).toEqual({ receipt, deduplicated: true });
      expect(await house().drain(same, 1)).toEqual([1]);
      expect((await house().broker.accept(same, again)).deduplicated).toBe(false);
      expect(await house().broker.stats([same])).toMatchObject({ waiting: 1 });
    });

    it('holds a key for its window, whatever becomes of the job, and per queue', async () => {
      const line = await house().queue();
      const extras = { uniqueKey: 'k', uniqueMs: 5_000 };
      const receipt = await house().accept(line, 1, { extras });
      expect(await house().drain(line, 1)).toEqual([1]);
      expect(await house().broker.accept(line, house().job(2, { extras }))).toEqual({ receipt, deduplicated: true });
      const other = await house().queue({}, 'other');
      expect((await house().broker.accept(other, house().job(2, { extras }))).deduplicated).toBe(false);
      await house().store.pass(5_001);
      expect((await house().broker.accept(line, house().job(3, { extras }))).deduplicated).toBe(false);
    });

    it('stores one of many that come at once', async () => {
      const line = await house().queue();
      const all = await Promise.all(
        Array.from({ length: 10 }, (_, i) =>
          house().broker.accept(line, house().job(i, { extras: { uniqueKey: 'k' } })),
        ),
      );
      expect(new Set(all.map(({ receipt }) => receipt)).size).toBe(1);
      expect(all.filter(({ deduplicated }) => !deduplicated)).toHaveLength(1);
      expect((await house().broker.stats([line])).waiting).toBe(1);
    });
  },
  expiry: (house) => {
    it('drops the oldest messages of a full backlog, says how many, and warns before that', async () => {
      const line = await house().subscription('f', { maxBacklog: 10, fifo: true });
      house().broker.consume(line, 0);
      for (let i = 0; i < 7; i++) await house().broker.publish(house().message(i));
      expect(house().store.said('is nearly full')).toBe(0);
      await house().broker.publish(house().message(7));
      await waitFor(() => house().store.said('is nearly full') === 1);
      for (let i = 8; i < 30; i++) await house().broker.publish(house().message(i));
      await waitFor(async () => (await house().broker.stats([line])).waiting <= 10);
      const { waiting } = await house().broker.stats([line]);
      await waitFor(() => house().expired.get('f') === 30 - waiting);
      expect(line.expired).toBe(30 - waiting);
      expect(house().store.said('is nearly full')).toBe(1);
      house().broker.consume(line, 1);
      const rest = await house().drain(line, waiting);
      expect(rest).toEqual(Array.from({ length: waiting }, (_, i) => 30 - waiting + i));
    });

    it('drops a job that has not started in time, waiting or delayed, and no other', async () => {
      const line = await house().queue();
      const at = house().store.now() + 2_000;
      const waiting = await house().accept(line, 'waiting', { functionId: 'absent', extras: { expiresAt: at } });
      await house().accept(line, 'delayed', { extras: { expiresAt: at, delayMs: 10_000 } });
      await house().accept(line, 'kept', { functionId: 'absent' });
      const running = await house().accept(line, 'running', { extras: { expiresAt: at } });
      const lease = await house().lease(line);
      expect(lease.job.receipt).toBe(running);
      await house().store.pass(2_001);
      await expect.poll(async () => house().broker.stats([line])).toMatchObject({ waiting: 1, delayed: 0, running: 1 });
      await house().broker.settle(lease, { kind: 'done' });
      expect((await house().broker.lookup?.(waiting))?.state ?? 'expired').toBe('expired');
      house().appear('absent');
      expect(await house().drain(line, 1)).toEqual(['kept']);
      expect(await house().nothing(line)).toBe(true);
    });
  },
  batch: (house) => {
    it('stores many jobs at once, with the answers in order', async () => {
      const line = await house().queue();
      const jobs = Array.from({ length: 100 }, (_, i) => ({ line, job: house().job(i) }));
      const answers = (await house().broker.acceptMany?.(jobs)) ?? [];
      expect(answers).toHaveLength(100);
      const receipts = answers.map(({ receipt }) => receipt);
      for (const receipt of receipts) {
        const lease = await house().lease(line);
        expect(lease.job.receipt).toBe(receipt);
        await house().broker.settle(lease, { kind: 'done' });
      }
    });
  },
  cancel: (house) => {
    it('takes back what waits or is delayed, not what runs, also beyond what is at hand', async () => {
      const { broker } = house();
      const line = await house().queue();
      const running = await house().accept(line, 0);
      const lease = await house().lease(line);
      const receipts = await Promise.all(Array.from({ length: 1_200 }, (_, i) => house().accept(line, i + 1)));
      const delayed = await house().accept(line, 'delayed', { extras: { delayMs: 1_000 } });
      const [first, last] = [receipts[0] as string, receipts.at(-1) as string];
      expect(await broker.cancel?.(running)).toBe('running');
      expect(await broker.cancel?.(delayed)).toBe('cancelled');
      expect(await broker.cancel?.(first)).toBe('cancelled');
      expect(await broker.cancel?.(last)).toBe('cancelled');
      expect(await broker.cancel?.(last)).toBe('cancelled');
      expect(await broker.cancel?.('00000000-0000-4000-8000-000000000000')).toBeUndefined();
      await broker.settle(lease, { kind: 'done' });
      const seen = await house().drain(line, 1_198);
      expect(seen[0]).toBe(2);
      expect(seen.at(-1)).toBe(1_199);
      await house().store.pass(1_000);
      expect(await house().nothing(line)).toBe(true);
      expect(await broker.stats([line])).toMatchObject({ waiting: 0, delayed: 0, running: 0 });
    });
  },
  lookup: (house) => {
    it('takes a receipt that a client chose for one job, however often it is sent', async () => {
      const line = await house().queue();
      const job = house().job('once', { receipt: '3f8d1c52-7a10-4e5b-9c3d-0123456789ab' });
      expect(await house().broker.accept(line, job)).toMatchObject({ receipt: job.receipt, deduplicated: false });
      expect(await house().broker.accept(line, job)).toMatchObject({ receipt: job.receipt, deduplicated: true });
      expect(await house().drain(line, 1)).toEqual(['once']);
      expect(await house().nothing(line)).toBe(true);
    });
    it('tells the state of a receipt through all of its life', async () => {
      const { broker } = house();
      const line = await house().queue();
      const state = async (receipt: string): Promise<unknown> => (await broker.lookup?.(receipt))?.state;
      const receipt = await house().accept(line, 1);
      const chosen = await house().accept(line, 2, { receipt: 'mine', extras: { delayMs: 60_000 } });
      expect(await broker.lookup?.(receipt)).toMatchObject({
        state: 'waiting',
        name: 'q',
        functionId: 'f',
        attempts: 0,
      });
      expect(await state(chosen)).toBe('delayed');
      const lease = await house().lease(line);
      expect(await state(receipt)).toBe('running');
      const failures = [{ at: 5, error: 'broken' }];
      await broker.settle(lease, { kind: 'postpone', delayMs: 1_000, attempts: 1, lost: 0, failures });
      expect(await broker.lookup?.(receipt)).toMatchObject({ state: 'delayed', attempts: 1, failures });
      await house().store.pass(1_000);
      const dead = { kind: 'dead', error: 'e', code: 'c', attempts: 2, lost: 0, failures } as const;
      await broker.settle(await house().lease(line), dead);
      expect(await broker.lookup?.(receipt)).toMatchObject({ state: 'dead', attempts: 2, error: 'e', code: 'c' });
      await broker.redrive(line);
      expect(await broker.lookup?.(receipt)).toMatchObject({ state: 'waiting', attempts: 0 });
      expect(await house().drain(line, 1)).toEqual([1]);
      expect(await state(receipt)).toBe('done');
      expect(await state('nothing-like-it')).toBeUndefined();
    });
  },
  late_success: (house) => {
    it('ends a job that is delayed again, not one that runs again', async () => {
      const { broker } = house();
      const line = await house().queue();
      await house().accept(line, 1);
      const again = { kind: 'postpone', delayMs: 1_000, attempts: 1, lost: 0, failures: [] } as const;
      const first = await house().lease(line);
      await broker.settle(first, again);
      await house().store.pass(1_000);
      const second = await house().lease(line);
      expect(await broker.finishLate?.(first)).toBe(false);
      await broker.settle(second, again);
      expect(await broker.finishLate?.(second)).toBe(true);
      expect(await broker.finishLate?.(second)).toBe(false);
      await house().store.pass(1_000);
      expect(await house().nothing(line)).toBe(true);
      await house().restart();
      const reopened = await house().queue();
      expect(await house().broker.stats([reopened])).toMatchObject({ waiting: 0, delayed: 0 });
    });
  },
  keep_ended: (house) => {
    it('keeps ended jobs on record over a restart, within their count and time', async () => {
      const rules = { keepEndedMs: 60_000, keepEndedCount: 2 };
      const line = await house().queue(rules);
      const receipts: string[] = [];
      for (let i = 0; i < 3; i++) receipts.push(await house().accept(line, i));
      await house().drain(line, 3);
      await house().broker.sweep();
      await house().restart();
      const again = await house().queue(rules);
      const state = async (receipt: string | undefined): Promise<unknown> =>
        (await house().broker.lookup?.(receipt ?? ''))?.state;
      expect(await state(receipts[0])).toBeUndefined();
      expect(await state(receipts[2])).toBe('done');
      await house().store.pass(60_001);
      await house().broker.sweep();
      expect(await state(receipts[2])).toBeUndefined();
      expect((await house().broker.stats([again])).waiting).toBe(0);
    });
  },
};

export function runSuites(
  suites: Partial<Record<Capability, Suite>>,
  has: ReadonlySet<Capability>,
  house: () => House,
): void {
  for (const [capability, suite] of Object.entries(suites) as [Capability, Suite][]) {
    if (has.has(capability)) describe(capability, () => suite(house));
  }
}
