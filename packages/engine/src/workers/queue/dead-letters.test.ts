import { waitFor } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_DEAD_PAGE_LENGTH } from './dead-letters.js';
import { QueueEngine, type Dead } from './fixtures/queue-engine.js';

interface Page {
  readonly total: number;
  readonly next_offset: number | null;
  readonly page_cut?: string;
  readonly messages: readonly Dead[];
}

describe('dead letters', () => {
  let engine: QueueEngine;
  let broken: boolean;
  let seen: unknown[];
  beforeEach(async () => {
    engine = await QueueEngine.start({ q: { max_retries: 1, concurrency: 1 } });
    broken = true;
    seen = [];
    for (const id of ['f', 'g']) {
      engine.client.registerFunction(id, (data) => {
        if (broken) throw new Error(`${id} is broken`);
        seen.push(data);
      });
    }
  });
  afterEach(() => engine.stop());
  const bury = async (count: number, functionId = 'f', data: (i: number) => unknown = (i) => i): Promise<string[]> => {
    const receipts: string[] = [];
    for (let i = 0; i < count; i++) receipts.push(await engine.put('q', functionId, data(i)));
    await engine.until('q', { depth: 0 });
    return receipts;
  };
  const browse = (more: object): Promise<Page> => engine.call('engine::queue::dlq_browse', { topic: 'q', ...more });

  it('end a page before it is too large, and say how to go on', async () => {
    const size = Math.ceil(MAX_DEAD_PAGE_LENGTH / 4);
    await bury(6, 'f', () => 'x'.repeat(size));
    const page = await engine.dead('q', { limit: 1_000 });
    expect(page).toHaveLength(3);
    expect(page.at(-1)?.page_cut).toContain('go on with offset 3, or ask with a smaller limit');
    const rest = await engine.dead('q', { offset: 3, limit: 1_000 });
    expect(rest).toHaveLength(3);
    expect(rest.at(-1)).not.toHaveProperty('page_cut');
    expect(await browse({ limit: 1_000 })).toMatchObject({
      total: 6,
      next_offset: 3,
      page_cut: expect.stringContaining('limit') as string,
    });
  });

  it('are browsed with totals, filters and pages', async () => {
    await bury(3);
    await engine.clock.advance(60_000);
    const later = engine.clock.now();
    await bury(2, 'g');
    expect(await browse({ limit: 2 })).toMatchObject({ total: 5, next_offset: 2 });
    expect((await browse({ limit: 2, offset: 4 })).next_offset).toBeNull();
    expect((await browse({ function_id: 'g' })).messages).toHaveLength(2);
    expect(await browse({ error: 'f is' })).toMatchObject({ total: 3 });
    expect(await browse({ since_ms: later })).toMatchObject({ total: 2 });
    expect(await browse({ until_ms: later, error_code: 'invocation_failed' })).toMatchObject({ total: 3 });
    expect(await browse({ error_code: 'worker_lost' })).toMatchObject({ total: 0, messages: [] });
  });

  it('come back at a rate', async () => {
    await bury(5);
    broken = false;
    expect(await engine.call('iii::queue::redrive', { queue: 'q', rate_per_second: 2 })).toEqual({
      queue: 'q',
      redriven: 0,
      scheduled: 5,
    });
    const startedAt = engine.clock.now();
    const at: number[] = [];
    await waitFor(async () => {
      if (seen.length > at.length) at.push(engine.clock.now() - startedAt);
      else await engine.clock.advance(100);
      await engine.stats('q');
      return seen.length === 5;
    });
    expect(seen).toEqual([0, 1, 2, 3, 4]);
    expect(engine.clock.now() - startedAt).toBeGreaterThanOrEqual(2_000);
    at.forEach((ms, i) => expect(ms).toBeGreaterThanOrEqual(i * 500));
    expect(await engine.stats('q')).toMatchObject({ dlq_depth: 0 });
  });

  it("come back with today's retries when asked to", async () => {
    await bury(2);
    await engine.configure({ q: { max_retries: 3, concurrency: 1 } });
    expect(await engine.call('iii::queue::redrive', { queue: 'q', limit: 1 })).toMatchObject({ redriven: 1 });
    await engine.until('q', { depth: 0, dlq_depth: 2 });
    await engine.call('iii::queue::redrive', { queue: 'q', apply_current_config: true });
    await engine.until('q', { delayed: 2, dlq_depth: 0 });
  });

  it('are edited and run again, as the text that was sent', async () => {
    const [receipt] = await bury(1);
    broken = false;
    const edited = { queue: 'q', message_id: receipt, data: { to: 'right' }, function_id: 'g', redrive: true };
    expect(await engine.call('iii::queue::edit_message', edited)).toMatchObject({ edited: 1, redriven: 1 });
    await waitFor(() => seen.length === 1);
    expect(seen).toEqual([{ to: 'right' }]);
    expect(await engine.call('iii::queue::edit_message', edited)).toMatchObject({ edited: 0, redriven: 0 });
    await engine.untilState(receipt ?? '', 'done');
  });

  it('are final when discarded', async () => {
    const [receipt] = await bury(1);
    expect((await engine.job(receipt ?? '')).state).toBe('dead');
    await engine.call('iii::queue::discard_message', { queue: 'q', message_id: receipt });
    expect((await engine.job(receipt ?? '')).state).toBe('discarded');
  });

  it('are told to the function of the queue, after they are stored', async () => {
    await engine.configure({ q: { max_retries: 1, dead_letter_function: 'undertaker' } });
    const told: { receipt: string; payload: unknown; error: string }[] = [];
    const depths: unknown[] = [];
    engine.client.registerFunction('undertaker', async (data) => {
      depths.push((await engine.stats('q')).dlq_depth);
      told.push(data as (typeof told)[number]);
    });
    const [receipt] = await bury(1);
    await waitFor(() => told.length === 1);
    expect(told[0]).toMatchObject({ event: 'dead_lettered', receipt, payload: 0, error: 'f is broken', queue: 'q' });
    expect(depths).toEqual([1]);
  });
});
