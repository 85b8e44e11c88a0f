import { waitFor } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { QueueEngine } from './fixtures/queue-engine.js';

interface Event {
  readonly event: string;
  readonly receipt: string;
  readonly function_id: string;
  readonly error?: string;
}

interface Expired {
  readonly expired: number;
}

describe('events of jobs', () => {
  let engine: QueueEngine;
  let events: Event[];
  beforeEach(async () => {
    engine = await QueueEngine.start({ q: { max_retries: 2, backoff_ms: 1_000 }, other: {} });
    events = [];
    engine.client.registerFunction('watch', (event) => void events.push(event as Event));
  });
  afterEach(() => engine.stop());
  const watch = (config: object): Promise<unknown> =>
    engine.client.registerTrigger({ type: 'queue', function_id: 'watch', config }).ready;

  it('tell of every end of a delivery, after it is stored', async () => {
    await watch({});
    let broken = true;
    engine.client.registerFunction('f', () => {
      if (broken) throw new Error('no');
    });
    const dead = await engine.put('q', 'f', 1);
    await engine.until('q', { delayed: 1 });
    await engine.clock.advance(1_000);
    await engine.untilState(dead, 'dead');
    broken = false;
    const done = await engine.put('other', 'f', 2);
    await waitFor(() => events.length === 4);
    expect(events).toMatchObject([
      {
        event: 'failed',
        receipt: dead,
        queue: 'q',
        function_id: 'f',
        failed_attempts: 1,
        error: 'no',
        retry_in_ms: 1_000,
      },
      { event: 'failed', receipt: dead, failed_attempts: 2 },
      { event: 'dead_lettered', receipt: dead, error: 'no', error_code: 'invocation_failed' },
      { event: 'completed', receipt: done, queue: 'other' },
    ]);
  });

  it('come only for the queue, function and kinds that were asked for, and never for jobs of their own function', async () => {
    await watch({ queue: 'q', function_id: 'f', events: ['completed'] });
    for (const id of ['f', 'g']) engine.client.registerFunction(id, () => undefined);
    await engine.put('q', 'g', 1);
    await engine.put('other', 'f', 1);
    const receipt = await engine.put('q', 'f', 1);
    await waitFor(() => events.length === 1);
    expect(events).toMatchObject([{ event: 'completed', receipt }]);
    await watch({});
    const own = await engine.put('other', 'watch', { event: 'a job' });
    await engine.untilState(own, 'done');
    await engine.put('other', 'g', 1);
    await waitFor(() => events.some(({ function_id }) => function_id === 'g'));
    expect(events.filter(({ function_id }) => function_id === 'watch')).toEqual([]);
  });

  it('tell a queue and a topic of the same name apart', async () => {
    engine.client.registerFunction('of-queue', () => undefined);
    engine.client.registerFunction('of-topic', () => undefined);
    await engine.client.registerTrigger({ type: 'durable:subscriber', function_id: 'of-topic', config: { topic: 'q' } })
      .ready;
    await watch({ queue: 'q', events: ['completed'] });
    const other: Event[] = [];
    engine.client.registerFunction('watch-topic', (event) => void other.push(event as Event));
    const config = { topic: 'q', events: ['completed'] };
    await engine.client.registerTrigger({ type: 'queue', function_id: 'watch-topic', config }).ready;
    await engine.call('iii::durable::publish', { topic: 'q', data: 1 });
    await waitFor(() => other.length === 1);
    await engine.put('q', 'of-queue', 1);
    await waitFor(() => events.length === 1);
    expect(events).toMatchObject([{ function_id: 'of-queue' }]);
    expect(other).toMatchObject([{ function_id: 'of-topic' }]);
  });

  it('tell of a delivery without an answer', async () => {
    await watch({ events: ['stalled'] });
    const worker = engine.engine.worker('crasher');
    worker.registerFunction('hangs', () => new Promise(() => undefined));
    const receipt = await engine.put('q', 'hangs', 1);
    await engine.untilState(receipt, 'running');
    await worker.shutdown();
    await waitFor(() => events.length === 1);
    expect(events[0]).toMatchObject({ event: 'stalled', receipt, function_id: 'hangs' });
  });

  it('tell of messages that a full backlog dropped, those of other topics aside', async () => {
    await watch({ topic: 'news', events: ['backlog_expired'] });
    for (const topic of ['news', 'other']) {
      const worker = engine.engine.worker(`reader of ${topic}`);
      worker.registerFunction(`reads::${topic}`, () => undefined);
      const config = { topic, queue_config: { maxBacklog: 5 } };
      await worker.registerTrigger({ type: 'durable:subscriber', function_id: `reads::${topic}`, config }).ready;
      await worker.shutdown();
      for (let i = 0; i < 12; i++) await engine.call('iii::durable::publish', { topic, data: i });
    }
    const dropped = (): number => events.reduce((sum, event) => sum + (event as unknown as Expired).expired, 0);
    await waitFor(async () => {
      await engine.clock.advance(1_000);
      return dropped() === 7;
    });
    // Together: a full backlog drops something with every publish.
    expect(events.length).toBeLessThan(7);
    expect(new Set(events.map(({ event, function_id }) => `${event} ${function_id}`))).toEqual(
      new Set(['backlog_expired reads::news']),
    );
    expect(events.at(-1)).toMatchObject({ topic: 'news', namespace: 'default' });
  });

  it('refuse a trigger that asks for what there is not', async () => {
    await expect(watch({ events: ['exploded'] })).rejects.toMatchObject({ code: 'trigger_registration_failed' });
    await expect(watch({ function: 'f' })).rejects.toThrow('did you mean `function_id`?');
  });
});
