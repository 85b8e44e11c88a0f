/**
 * What the queue's core relies on in its store, run against SQLite behind its threads and against the
 * store of the simulation: a simulation on a store that behaves otherwise would show nothing.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../../../core/store.js';
import { DELIVERY_WIDTH, type DeadKey, type Found, type JobRow, type OptionsJob, type Snapshot } from '../store.js';

export interface StoreUnderTest {
  readonly store: Store;
  /** Ends the process, and opens what it left. */
  restart(): Promise<void>;
  remove(): Promise<void>;
}

const NOW = 1_000_000;
const LINE = 1;
const LANE = 7;

export function queueStoreSuite(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`the queue's store: ${name}`, () => {
    let under: StoreUnderTest;
    const write = <T>(operation: string, ...args: Parameters<Store['write']>[1][]): Promise<T> =>
      under.store.write<T>(operation, ...args);
    const read = <T>(operation: string, ...args: Parameters<Store['read']>[1][]): Promise<T> =>
      under.store.read<T>(operation, ...args);
    const snapshot = (): Promise<Snapshot> => read('snapshot');
    const page = (lane = LANE, after = -1, limit = 100): Promise<JobRow[]> => read('page', lane, after, limit);
    const seqs = (rows: readonly { readonly seq: number }[]): number[] => rows.map(({ seq }) => seq);
    const accept = (seq: number, lane = LANE): Promise<unknown> =>
      write(
        'accept',
        seq,
        LINE,
        lane,
        `r${seq}`,
        'f',
        'default',
        null,
        `{"n":${seq}}`,
        null,
        null,
        null,
        NOW,
        3,
        1_000,
      );
    const options = (seq: number, own: Partial<OptionsJob> = {}): OptionsJob => ({
      seq,
      line: LINE,
      lane: LANE,
      receipt: `r${seq}`,
      functionId: 'f',
      namespace: 'default',
      group: null,
      data: `{"n":${seq}}`,
      metadata: null,
      traceparent: null,
      baggage: null,
      createdAt: NOW,
      maxAttempts: 3,
      backoffMs: 1_000,
      due: null,
      delay: null,
      options: null,
      expiresAt: null,
      lookup: null,
      uniqueKey: null,
      uniqueUntil: null,
      ...own,
    });
    const unique = (seq: number, own: Partial<OptionsJob> = {}): OptionsJob =>
      options(seq, { options: '{"uniqueKey":"k"}', uniqueKey: 'k', lookup: `r${seq}`, ...own });
    const bury = (seq: number, failedAt = NOW): Promise<unknown> =>
      write('deadLetter', seq, `id${seq}`, 3, '[]', 'it broke', 'broken', failedAt);
    const publish = (id: number, keepUntil: number | null, lines: readonly number[] = []): Promise<unknown> =>
      write(
        'publish',
        id,
        'news',
        `m${id}`,
        `{"m":${id}}`,
        null,
        null,
        NOW,
        keepUntil,
        lines.flatMap((line, i) => [id + 1 + i, line, LANE + line, `m${id}-${line}`, 'reader', 'default', 3, 1_000]),
      );
    const subscribe = (id: number, firstSeq: number, reserved: number): Promise<{ count: number; bytes: number }> =>
      write('subscribe', id, 'news', 'default', `reader${id}`, '{}', LANE + id, firstSeq, reserved, 3, 1_000);

    beforeEach(async () => {
      under = await open();
      await write('start', NOW);
      await write('createQueues', [LINE, 'orders']);
    });
    afterEach(() => under.remove());

    it('begins empty, and counts on from the highest numbers that it has', async () => {
      expect(await snapshot()).toMatchObject({ lastSeq: 0, lastLane: 0, lanes: [], dead: [], held: [] });
      await accept(41);
      await under.restart();
      const { lastSeq, lastLane, lines, lanes } = await snapshot();
      expect({ lastSeq, lastLane }).toEqual({ lastSeq: 41, lastLane: LANE });
      expect(lines).toMatchObject([{ id: LINE, name: 'orders', isTopic: 0, paused: 0 }]);
      expect(lanes).toMatchObject([{ lane: LANE, line: LINE, count: 1, bytes: 8, last: 41 }]);
    });

    it('runs operations in the order of the calls, and a read sees what was answered', async () => {
      const answers: number[] = [];
      await Promise.all([3, 1, 2].map((seq) => accept(seq).then(() => answers.push(seq))));
      expect(answers).toEqual([3, 1, 2]);
      expect(seqs(await page())).toEqual([1, 2, 3]);
      expect(seqs(await page(LANE, 1, 1))).toEqual([2]);
      expect(await page()).toMatchObject([
        { receipt: 'r1', data: '{"n":1}', attempts: 0, damaged: 0, due: null },
        {},
        {},
      ]);
    });

    it('lets a bad operation fail alone', async () => {
      const settled = await Promise.allSettled([accept(1), accept(1), accept(2)]);
      expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
      expect(seqs(await page())).toEqual([1, 2]);
    });

    it('forgets nothing that was answered', async () => {
      await Promise.all([accept(1), accept(2), accept(3)]);
      await write('end', 2);
      await write('postpone', 3, NOW + 500, 500, 1, 0, '[{"at":1,"error":"e"}]');
      await under.restart();
      expect(seqs(await page())).toEqual([1]);
      expect((await snapshot()).lanes).toMatchObject([{ count: 2, delayed: 1 }]);
      expect(await read('due', 0, -1, -1, 10)).toEqual([{ seq: 3, lane: LANE, due: NOW + 500, delay: 500 }]);
      expect(await read('load', [1, 2, 3])).toMatchObject([
        { seq: 1 },
        { seq: 3, attempts: 1, errors: '[{"at":1,"error":"e"}]' },
      ]);
    });

    it('shortens relative delays that the clock made longer, and leaves times of the wall clock alone', async () => {
      await write('acceptWithOptions', options(1, { due: NOW + 900, delay: 900 }), NOW);
      await write('acceptWithOptions', options(2, { due: NOW + 900 }), NOW);
      await write('start', NOW - 5_000);
      expect(await read('due', 0, -1, -1, 10)).toEqual([{ seq: 1, lane: LANE, due: NOW - 4_100, delay: 900 }]);
      expect(await read('due', 1, -1, -1, 10)).toEqual([{ seq: 2, lane: LANE, due: NOW + 900, delay: null }]);
    });

    it('tells postponed jobs in the order of their times, page by page, and by their lanes', async () => {
      for (const [seq, due] of [
        [1, NOW + 30],
        [2, NOW + 10],
        [3, NOW + 10],
        [4, NOW + 20],
      ] as const)
        await write('acceptWithOptions', options(seq, { due, delay: 1 }), NOW);
      expect(seqs(await read('due', 0, -1, -1, 2))).toEqual([2, 3]);
      expect(seqs(await read('due', 0, NOW + 10, 2, 2))).toEqual([3, 4]);
      expect(seqs(await read('due', 0, NOW + 10, 3, 9))).toEqual([4, 1]);
      expect(seqs(await read('postponed', LANE, 1, 2))).toEqual([2, 3]);
    });

    it('tells which jobs expire next, page by page', async () => {
      expect((await snapshot()).firstExpiry).toBeNull();
      for (const [seq, expiresAt] of [
        [1, NOW + 30],
        [2, NOW + 10],
        [3, NOW + 10],
        [4, null],
      ] as const)
        await write('acceptWithOptions', options(seq, { expiresAt }), NOW);
      expect((await snapshot()).firstExpiry).toBe(NOW + 10);
      expect(await read('expiries', -1, -1, 2)).toEqual([
        { seq: 2, at: NOW + 10 },
        { seq: 3, at: NOW + 10 },
      ]);
      expect(await read('expiries', NOW + 10, 3, 2)).toEqual([{ seq: 1, at: NOW + 30 }]);
    });

    it('gives a unique key to one job until that ends, or for its time', async () => {
      expect(await write('acceptWithOptions', unique(1), NOW)).toBeNull();
      expect(await write('acceptWithOptions', unique(2), NOW)).toBe('r1');
      await write('endWithOptions', 1);
      expect(await write('acceptWithOptions', unique(3, { uniqueUntil: NOW + 100 }), NOW)).toBeNull();
      await write('endWithOptions', 3);
      expect(await write('acceptWithOptions', unique(4), NOW + 99)).toBe('r3');
      await write('dropUnique', NOW + 101);
      expect(await write('acceptWithOptions', unique(5), NOW + 50)).toBeNull();
    });

    it('stores a batch as a whole or not at all', async () => {
      await accept(2);
      await expect(write('acceptMany', [options(1), options(2)], NOW)).rejects.toThrow();
      expect(seqs(await page())).toEqual([2]);
      expect(await write('acceptMany', [unique(3), unique(4), options(5)], NOW)).toEqual([null, 'r3', null]);
      expect(seqs(await page())).toEqual([2, 3, 5]);
    });

    it('ends many, those of a lane beyond a number, and says which were there', async () => {
      for (const seq of [1, 2, 3, 4]) await accept(seq);
      expect(await write('endMany', [1, 9])).toEqual([1]);
      expect(seqs(await write('endStored', LANE, 2, 10, LINE))).toEqual([3, 4]);
      expect((await snapshot()).lines).toMatchObject([{ expired: 2 }]);
      await write('expire', LINE, [2, 3]);
      expect((await snapshot()).lines).toMatchObject([{ expired: 3 }]);
      expect(await page()).toEqual([]);
    });

    it('keeps ended jobs on record for as many and as long as was asked', async () => {
      for (const seq of [1, 2, 3]) await accept(seq);
      for (const seq of [1, 2, 3]) await write('endKept', seq, 'done', 1, null, NOW + seq, 10, LINE, NOW - 1_000);
      expect(await read<Found>('find', 'r2', -1)).toMatchObject({
        kind: 'ended',
        ended: { state: 'done', endedAt: NOW + 2 },
      });
      await write('forgetEnded', LINE, NOW + 2, 1);
      expect(await read('find', 'r1', -1)).toBeUndefined();
      expect(await read('find', 'r2', -1)).toBeUndefined();
      expect(await read('find', 'r3', -1)).toMatchObject({ kind: 'ended' });
      expect((await snapshot()).lastSeq).toBe(3);
    });

    it('finds a job by its number or its own receipt', async () => {
      await accept(1);
      await write('acceptWithOptions', options(2, { receipt: 'mine', lookup: 'mine' }), NOW);
      expect(await read('find', 'r1', 1)).toMatchObject({ kind: 'job', job: { seq: 1 } });
      expect(await read('find', 'r1', 2)).toBeUndefined();
      expect(await read('find', 'mine', -1)).toMatchObject({ kind: 'job', job: { seq: 2 } });
    });

    it('moves a job among the dead and back, once, with its id and receipt', async () => {
      await accept(1);
      await bury(1);
      await bury(1);
      expect(await page()).toEqual([]);
      expect((await snapshot()).dead).toEqual([{ line: LINE, count: 1 }]);
      expect(await read('find', 'r1', 1)).toMatchObject({
        kind: 'dead',
        dead: { jobId: 'id1', error: 'it broke', errorCode: 'broken' },
      });
      const [key] = await read<DeadKey[]>('findDead', 'id1');
      expect(key).toMatchObject({ seq: 1, line: LINE, size: 7 });
      expect(await write('redrive', [1, 9, LANE, null, null], null, null)).toEqual([9]);
      expect(await write('redrive', [1, 10, LANE, null, null], null, null)).toEqual([]);
      expect(await page()).toMatchObject([
        { seq: 9, receipt: 'r1', jobId: 'id1', attempts: 0, redrives: 1, maxAttempts: 3 },
      ]);
    });

    it('restamps, edits, discards and drops dead letters', async () => {
      for (const seq of [1, 2, 3, 4]) await accept(seq);
      for (const seq of [1, 2, 3, 4]) await bury(seq, NOW + seq);
      expect(seqs(await read('deadKeys', LINE, 2))).toEqual([1, 2]);
      expect(await write('editDead', 1, '{"n":"new"}', null)).toBe(true);
      await write('redrive', [1, 9, LANE, null, null], 5, 7);
      expect(await page()).toMatchObject([{ data: '{"n":"new"}', size: 11, maxAttempts: 5, backoffMs: 7 }]);
      expect(await write('discard', 2)).toBe(true);
      expect(await write('discard', 2)).toBe(false);
      expect(seqs(await write('dropDead', LINE, NOW + 4, 10))).toEqual([3]);
      const found = await read<{ rows: { seq: number }[]; total: number }>('browseDead', [LINE], 0, 10, 1_000, {});
      expect(found).toMatchObject({ total: 1, rows: [{ seq: 4 }] });
    });

    it('stores a message once and lets it go with its last delivery', async () => {
      await subscribe(2, 100, 0);
      await subscribe(3, 100, 0);
      await publish(10, null, [2, 3]);
      expect(await page(LANE + 2)).toMatchObject([{ seq: 11, message: 10, data: '{"m":10}', receipt: 'm10-2' }]);
      await write('end', 11);
      expect(await page(LANE + 3)).toMatchObject([{ seq: 12, data: '{"m":10}' }]);
      await write('end', 12);
      expect((await snapshot()).held).toEqual([]);
      expect((await snapshot()).lastSeq).toBe(0);
    });

    it('refuses a delivery to a subscription that was never stored, and the message with it', async () => {
      await expect(publish(10, null, [9])).rejects.toThrow();
      expect((await snapshot()).lastSeq).toBe(0);
      expect(DELIVERY_WIDTH).toBe(8);
    });

    it('holds messages for the first subscription, or drops them when they are old', async () => {
      await publish(10, null);
      await publish(11, null);
      expect((await snapshot()).held).toEqual([{ topic: 'news', count: 2, bytes: 16 }]);
      await under.restart();
      expect(await subscribe(2, 20, 2)).toEqual({ count: 2, bytes: 16 });
      expect(await page(LANE + 2)).toMatchObject([
        { seq: 20, receipt: 'm10' },
        { seq: 21, receipt: 'm11' },
      ]);
      await publish(30, null);
      expect(await write('dropHeld', 'news', NOW + 1, NOW)).toEqual({ count: 1, bytes: 8 });
    });

    it('gives up waiting for a first subscriber and keeps what a replay may ask for', async () => {
      await publish(10, NOW + 500);
      await publish(11, null);
      expect(await write('dropHeld', 'news', NOW + 1, NOW)).toEqual({ count: 2, bytes: 16 });
      expect(await subscribe(2, 20, 2)).toEqual({ count: 0, bytes: 0 });
      const replayed = await write(
        'replay',
        'news',
        -1,
        50,
        NOW,
        2,
        LANE + 2,
        60,
        ['a'],
        'reader',
        'default',
        3,
        1_000,
      );
      expect(replayed).toEqual({ count: 1, bytes: 8, last: 10 });
    });

    it('keeps messages for a replay as long as was asked', async () => {
      await subscribe(2, 100, 0);
      await publish(10, NOW + 500, [2]);
      await write('end', 11);
      const replay = (firstSeq: number): Promise<unknown> =>
        write('replay', 'news', -1, 50, NOW, 2, LANE + 2, firstSeq, ['a', 'b'], 'reader', 'default', 3, 1_000);
      expect(await replay(60)).toEqual({ count: 1, bytes: 8, last: 10 });
      expect(await page(LANE + 2)).toMatchObject([{ seq: 60, receipt: 'a', options: '{"replayed":true}' }]);
      await write('end', 60);
      expect((await snapshot()).kept).toEqual([{ topic: 'news', since: NOW }]);
      await write('dropKept', 'news', NOW + 501, false);
      expect(await replay(70)).toMatchObject({ count: 0 });
      expect((await snapshot()).kept).toEqual([]);
    });

    it('remembers what is paused, offline and ended, and forgets a line without dead letters', async () => {
      await subscribe(2, 100, 0);
      await write('setPaused', 2, 1);
      await write('setOffline', 2, NOW);
      await write('endLine', 2, NOW + 1);
      await under.restart();
      expect((await snapshot()).lines).toMatchObject([
        { id: LINE },
        { paused: 1, offlineSince: NOW, endedAt: NOW + 1 },
      ]);
      expect(await write('deleteLine', 2)).toBe(true);
      await accept(1);
      await bury(1);
      expect(await write('deleteLine', LINE)).toBe(false);
    });

    it('gathers the lanes of a queue that became fifo', async () => {
      await accept(1, 20);
      await accept(2, 21);
      await write('gather', LANE, [20, 21]);
      expect(await page()).toMatchObject([
        { seq: 1, group: '' },
        { seq: 2, group: '' },
      ]);
    });

    it('keeps what is `normal` beside what is `full`, and what is in memory apart until the end', async () => {
      const normal = under.store.as('normal');
      const memory = under.store.as('memory');
      await normal.write('accept', 1, LINE, LANE, 'r1', 'f', 'default', null, '1', null, null, null, NOW, 3, 0);
      await memory.write('accept', 2, LINE, LANE, 'r2', 'f', 'default', null, '2', null, null, null, NOW, 3, 0);
      expect(seqs(await page())).toEqual([1]);
      expect(seqs(await memory.read('page', LANE, -1, 10))).toEqual([2]);
      await under.restart();
      expect(seqs(await page())).toEqual([1]);
      expect(await under.store.as('memory').read('page', LANE, -1, 10)).toEqual([]);
    });

    it('refuses everything once it is closed', async () => {
      await under.store.close();
      await expect(accept(1)).rejects.toMatchObject({ code: 'storage_closed' });
    });
  });
}
