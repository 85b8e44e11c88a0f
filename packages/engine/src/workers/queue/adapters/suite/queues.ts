/** Capabilities of whole queues and topics: pause, purge, peek, rates, dead letters, held messages, replay. */
import { expect, it } from 'vitest';
import type { Decision } from '../../job.js';
import type { Capability } from '../index.js';
import { MAX_HELD_BYTES, MAX_HELD_MESSAGES, MAX_HELD_TOPICS } from '../rules.js';
import type { House } from './house.js';

type Suite = (house: () => House) => void;

function dead(code = 'invocation_failed', error = 'broken'): Decision {
  return { kind: 'dead', error, code, attempts: 1, lost: 0, failures: [] };
}
const PAGE = { offset: 0, limit: 50, maxBytes: 1024 * 1024 };

export const queueSuites: Partial<Record<Capability, Suite>> = {
  pause: (house) => {
    it('leases nothing of a paused queue until it is resumed, also after a restart', async () => {
      const line = await house().queue();
      await house().accept(line, 1);
      await house().broker.setPaused?.(line, true);
      await house().accept(line, 2);
      expect(await house().nothing(line)).toBe(true);
      await house().restart();
      const again = await house().queue();
      expect(again.paused).toBe(true);
      expect(await house().nothing(again)).toBe(true);
      await house().broker.setPaused?.(again, false);
      expect(await house().drain(again, 2)).toEqual([1, 2]);
    });
  },
  purge: (house) => {
    it('drops what waits, what is delayed or the dead letters, and not what runs', async () => {
      const { broker } = house();
      const line = await house().queue();
      await house().accept(line, 'dead');
      await broker.settle(await house().lease(line), dead());
      await house().accept(line, 'running');
      const running = await house().lease(line);
      await Promise.all(Array.from({ length: 1_200 }, (_, i) => house().accept(line, i)));
      await house().accept(line, 'delayed', { extras: { delayMs: 60_000 } });
      expect(await broker.purge?.(line, 'waiting')).toBe(1_200);
      expect(await broker.stats([line])).toMatchObject({ waiting: 0, delayed: 1, running: 1, dead: 1 });
      expect(await broker.purge?.(line, 'delayed')).toBe(1);
      expect(await broker.purge?.(line, 'dead')).toBe(1);
      await broker.settle(running, { kind: 'done' });
      await house().restart();
      const again = await house().queue();
      expect(await house().broker.stats([again])).toMatchObject({ waiting: 0, delayed: 0, running: 0, dead: 0 });
      await house().accept(again, 'new');
      expect(await house().drain(again, 1)).toEqual(['new']);
    });
  },
  peek: (house) => {
    it('shows what runs next without a lease', async () => {
      const line = await house().queue();
      for (let i = 0; i < 5; i++) await house().accept(line, i);
      await house().lease(line);
      const jobs = (await house().broker.peek?.(line, 3)) ?? [];
      expect(jobs.map(({ data }) => data)).toEqual(['1', '2', '3']);
      expect(await house().drain(line, 4)).toEqual([1, 2, 3, 4]);
    });
  },
  rate: (house) => {
    it('starts at most so many in a time', async () => {
      const line = await house().queue({ rate: { max: 2, perMs: 2_000 } });
      for (let i = 0; i < 5; i++) await house().accept(line, i);
      expect(await house().drain(line, 2)).toEqual([0, 1]);
      expect(await house().nothing(line)).toBe(true);
      await house().store.pass(2_001);
      expect(await house().drain(line, 2)).toEqual([2, 3]);
      expect(await house().nothing(line)).toBe(true);
      await house().store.pass(2_001);
      expect(await house().drain(line, 1)).toEqual([4]);
    });

    it('counts each key on its own and lets others pass', async () => {
      const line = await house().queue({ ratePerKey: { max: 1, perMs: 2_000 } });
      for (const data of ['a1', 'a2', 'b1', 'c1']) {
        await house().accept(line, data, { extras: data === 'c1' ? undefined : { rateKey: data[0] } });
      }
      expect((await house().drain(line, 3)).sort()).toEqual(['a1', 'b1', 'c1']);
      expect(await house().nothing(line)).toBe(true);
      await house().store.pass(2_001);
      expect(await house().drain(line, 1)).toEqual(['a2']);
    });
  },
  global_concurrency: (house) => {
    it('leases at most so many at once', async () => {
      const line = await house().queue({ globalConcurrency: 2 });
      for (let i = 0; i < 3; i++) await house().accept(line, i);
      const first = await house().lease(line);
      await house().lease(line);
      expect(await house().nothing(line)).toBe(true);
      await house().broker.settle(first, { kind: 'done' });
      expect(JSON.parse((await house().lease(line)).job.data)).toBe(2);
    });
  },
  dead_discard: (house) => {
    it('deletes one dead letter', async () => {
      const line = await house().queue();
      const receipt = await house().accept(line, 1);
      await house().broker.settle(await house().lease(line), dead());
      expect(await house().broker.discardOne?.([line], receipt)).toBe(true);
      expect(await house().broker.discardOne?.([line], receipt)).toBe(false);
      expect((await house().broker.stats([line])).dead).toBe(0);
    });
  },
  dead_edit: (house) => {
    it('changes payload and function of a dead letter, keeping its text as it is', async () => {
      const line = await house().queue();
      const receipt = await house().accept(line, 1);
      await house().broker.settle(await house().lease(line), dead());
      const change = { data: '{"price":2.0}', functionId: 'g' };
      expect(await house().broker.editDead?.([line], receipt, change)).toBe(true);
      expect(await house().broker.editDead?.([line], 'unknown', change)).toBe(false);
      expect((await house().broker.browseDead([line], PAGE)).letters[0]).toMatchObject(change);
      await house().broker.redriveOne([line], receipt);
      expect((await house().lease(line)).job).toMatchObject({ ...change, receipt });
    });
  },
  dead_filter: (house) => {
    it('finds dead letters by function, code, error and time, with the total of those', async () => {
      const line = await house().queue();
      await house().accept(line, 1);
      await house().accept(line, 2, { functionId: 'g' });
      for (let i = 0; i < 2; i++) {
        const lease = await house().lease(line);
        const decision = lease.job.functionId === 'g' ? dead('worker_lost', '100% lost') : dead();
        await house().broker.settle(lease, decision);
      }
      const total = async (filter: object): Promise<number> =>
        (await house().broker.browseDead([line], { ...PAGE, filter })).total;
      expect(await total({})).toBe(2);
      expect(await total({ functionId: 'g' })).toBe(1);
      expect(await total({ code: 'worker_lost' })).toBe(1);
      expect(await total({ error: '% lo' })).toBe(1);
      expect(await total({ functionId: 'f', code: 'worker_lost' })).toBe(0);
      expect(await total({ since: house().store.now() + 60_000 })).toBe(0);
      expect(await total({ until: house().store.now() + 60_000 })).toBe(2);
    });
  },
  dead_retention: (house) => {
    it('drops dead letters after their time', async () => {
      const line = await house().queue({ keepDeadMs: 5_000 });
      await house().accept(line, 1);
      await house().broker.settle(await house().lease(line), dead());
      await house().broker.sweep();
      expect((await house().broker.stats([line])).dead).toBe(1);
      await house().store.pass(5_001);
      await house().broker.sweep();
      expect((await house().broker.stats([line])).dead).toBe(0);
    });
  },
  held_messages: (house) => {
    it('holds what nobody subscribes to for the first one, in order, over a restart', async () => {
      for (let i = 0; i < 5; i++) await house().broker.publish(house().message(i));
      expect((await house().broker.held()).get('t')?.count).toBe(5);
      await house().restart();
      expect((await house().broker.held()).get('t')?.count).toBe(5);
      const line = await house().subscription('f', { fifo: true });
      expect(await house().drain(line, 5)).toEqual([0, 1, 2, 3, 4]);
      expect((await house().broker.held()).get('t')).toBeUndefined();
      expect(await house().nothing(await house().subscription('g'))).toBe(true);
    });

    it('holds so many messages, so many bytes and so many topics, and refuses more by name', async () => {
      const publish = (topic: string, data: unknown, count = 1): Promise<unknown> =>
        Promise.all(Array.from({ length: count }, () => house().broker.publish({ ...house().message(data), topic })));
      const full = (holding: string): object => ({
        code: 'topic_backlog_full',
        message: expect.stringContaining(holding) as string,
      });
      await publish('many', 1, MAX_HELD_MESSAGES);
      await expect(publish('many', 1)).rejects.toMatchObject(full(`${MAX_HELD_MESSAGES} messages`));
      const piece = 'x'.repeat(MAX_HELD_BYTES / 16 - 2); // and its quotes
      for (let i = 0; i < 16; i++) await publish('large', piece);
      await expect(publish('large', '')).rejects.toMatchObject(full(`${MAX_HELD_BYTES} bytes`));
      for (let i = 2; i < MAX_HELD_TOPICS; i += 1_000) {
        await Promise.all(
          Array.from({ length: Math.min(1_000, MAX_HELD_TOPICS - i) }, (_, n) => publish(`topic ${i + n}`, 1)),
        );
      }
      await expect(publish('one more', 1)).rejects.toMatchObject(full(`${MAX_HELD_TOPICS} other such topics`));
      await publish('topic 2', 2); // one that holds messages already
      const line = await house().subscription('f', {}, 'many');
      expect((await house().broker.stats([line])).waiting + (await house().broker.stats([line])).running).toBe(
        MAX_HELD_MESSAGES,
      );
      await publish('one more', 1); // there is room for it now
    }, 60_000);
  },
  replay: (house) => {
    it('delivers messages since a time again to one subscription, as new jobs', async () => {
      house().replayRetentionMs = 60_000;
      const f = await house().subscription('f');
      const g = await house().subscription('g');
      await house().broker.publish(house().message('old'));
      const first = await house().lease(f);
      await house().broker.settle(first, { kind: 'done' });
      await house().drain(g, 1);
      await house().store.pass(1_000);
      const since = house().store.now();
      await house().broker.publish(house().message('new'));
      await house().drain(f, 1);
      await house().drain(g, 1);
      expect(await house().broker.replay?.(f, since)).toBe(1);
      const lease = await house().lease(f);
      expect(lease.job).toMatchObject({ data: '"new"', extras: { replayed: true } });
      await house().broker.settle(lease, { kind: 'done' });
      expect(await house().broker.replay?.(f, since - 1_000)).toBe(2);
      await house().restart();
      expect(await house().drain(await house().subscription('f'), 2)).toEqual(['old', 'new']);
      expect(await house().nothing(await house().subscription('g'))).toBe(true);
    });

    it('says since when messages are kept', async () => {
      const f = await house().subscription('f');
      await house().broker.publish(house().message(1));
      await expect(house().broker.replay?.(f, 0)).rejects.toMatchObject({ code: 'replay_not_retained' });
      house().replayRetentionMs = 5_000;
      const since = house().store.now();
      await house().broker.publish(house().message(2));
      await expect(house().broker.replay?.(f, since - 1)).rejects.toMatchObject({
        code: 'replay_not_retained',
        message: expect.stringContaining(String(since)) as string,
      });
      await house().drain(f, 2);
      await house().store.pass(5_001);
      await house().broker.sweep();
      await expect(house().broker.replay?.(f, since)).rejects.toMatchObject({ code: 'replay_not_retained' });
    });
  },
};
