import { FakeClock, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { TriggerAction, type EmbeddedWorker } from '../../core/embedded-worker.js';
import { createLog } from '../../core/log-writer.js';
import { createEngine, type Engine } from '../../engine.js';
import { queueConfig } from './config.js';

interface QueueMetadata {
  readonly [key: string]: unknown;
  readonly queue: {
    readonly receipt: string;
    readonly queue: string;
    readonly attempt: number;
    readonly redelivered: boolean;
  };
}
interface Stats {
  readonly depth: number;
  readonly dlq_depth: number;
  readonly waiting: number;
  readonly delayed: number;
  readonly running: number;
  readonly waiting_for_function: number;
}
interface Dead {
  readonly id: string;
  readonly payload: unknown;
  readonly error: string;
  readonly failed_at: number;
  readonly retries: number;
  readonly size_bytes: number;
  readonly function_id: string;
  readonly message_receipt_id: string;
  readonly error_code: string;
  readonly attempts: readonly { readonly at: number; readonly error: string }[];
}

describe('named queues', () => {
  let folder: TempFolder;
  let clock: FakeClock;
  let engine: Engine;
  let client: EmbeddedWorker;

  const start = async (queues: object = {}): Promise<void> => {
    clock = new FakeClock();
    engine = await createEngine({
      cwd: folder.path,
      clock,
      drainMs: 0, // some handlers never end
      log: createLog({ level: 'error', format: 'json', stream: { write: () => true } }),
      config: {
        workers: [
          { name: 'iii-worker-manager', config: { port: 0 } },
          { name: 'iii-queue', config: { queue_configs: queues } },
        ],
      },
    });
    await engine.start();
    client = engine.worker('client');
  };
  const call = <T>(functionId: string, payload: unknown): Promise<T> =>
    client.trigger<unknown, T>({ function_id: functionId, payload });
  const enqueue = async (queue: string, functionId: string, payload: unknown, metadata?: unknown): Promise<string> => {
    const request = {
      function_id: functionId,
      payload,
      action: TriggerAction.Enqueue({ queue }),
      ...(metadata === undefined ? {} : { metadata }),
    };
    return (await client.trigger<unknown, { messageReceiptId: string }>(request)).messageReceiptId;
  };
  const stats = (topic: string): Promise<Stats> => call('engine::queue::topic_stats', { topic });
  const dead = (topic: string, rest: object = {}): Promise<Dead[]> =>
    call('engine::queue::dlq_messages', { topic, ...rest });
  const delayed = (topic: string, count = 1): Promise<unknown> =>
    waitFor(async () => (await stats(topic)).delayed === count, { what: `${count} delayed in ${topic}` });
  const restart = async (queues: object = {}): Promise<void> => {
    await engine.stop();
    await start(queues);
  };

  beforeEach(async () => void (folder = await tempFolder()));
  afterEach(async () => {
    await engine.stop();
    await folder.remove();
  });

  it('delivers at 0, 1, 3, 7 and 15 s, then shows payload, real error and attempts; a redrive empties the dead letters', async () => {
    await start({ clicks: { max_retries: 5 } });
    const startedAt = clock.now();
    const at: number[] = [];
    const metadata: QueueMetadata[] = [];
    let broken = true;
    client.registerFunction('link::record_click', (_data, meta) => {
      at.push(clock.now() - startedAt);
      metadata.push(meta as QueueMetadata);
      if (broken) throw new Error('no such table: clicks');
    });
    const receipt = await enqueue('clicks', 'link::record_click', { code: 'abc' }, { user: 7 });
    for (const seconds of [1, 2, 4, 8]) {
      await delayed('clicks');
      await clock.advance(seconds * 1_000 - 1);
      expect((await stats('clicks')).delayed).toBe(1);
      await clock.advance(1);
    }
    await waitFor(async () => (await dead('clicks')).length === 1);
    expect(at).toEqual([0, 1_000, 3_000, 7_000, 15_000]);
    expect(metadata.map(({ queue }) => [queue.attempt, queue.redelivered])).toEqual([
      [1, false],
      [2, true],
      [3, true],
      [4, true],
      [5, true],
    ]);
    expect(new Set(metadata.map(({ queue }) => queue.receipt))).toEqual(new Set([receipt]));
    expect(metadata[0]).toMatchObject({ user: 7, queue: { queue: 'clicks', enqueued_at_ms: startedAt } });

    const [entry] = await dead('clicks');
    expect(entry).toMatchObject({
      payload: { code: 'abc' },
      error: 'no such table: clicks',
      failed_at: Math.floor((startedAt + 15_000) / 1_000),
      retries: 5,
      function_id: 'link::record_click',
      message_receipt_id: receipt,
      error_code: 'invocation_failed',
    });
    expect(entry?.attempts.map((attempt) => attempt.at - startedAt)).toEqual(at);
    expect(entry?.id).not.toBe(receipt);

    broken = false;
    expect(await call('iii::queue::redrive', { topic: 'clicks' })).toEqual({ queue: 'clicks', redriven: 1 });
    await waitFor(async () => (await stats('clicks')).depth === 0 && at.length === 6);
    expect(metadata[5]?.queue).toMatchObject({ receipt, attempt: 1 });
    expect(await dead('clicks')).toEqual([]);
    expect(await call('iii::queue::redrive', { queue: 'clicks' })).toEqual({ queue: 'clicks', redriven: 0 });
  });

  it('keeps the order of a fifo group under failures while other groups go on', async () => {
    await start({ orders: { type: 'fifo', message_group_field: 'customer', concurrency: 4, max_retries: 2 } });
    const starts: string[] = [];
    client.registerFunction('order::step', (data: { customer: string; step: number; failing?: boolean }, meta) => {
      starts.push(`${data.customer}${data.step}`);
      if (data.failing === true && (meta as QueueMetadata).queue.attempt === 1) throw new Error('not yet');
      if (data.customer === 'c' && data.step === 1) throw new Error('never');
    });
    for (let step = 1; step <= 3; step++) {
      for (const customer of ['a', 'b', 'c'])
        await enqueue('orders', 'order::step', { customer, step, failing: customer === 'a' && step === 1 });
    }
    await waitFor(() => starts.includes('b3'));
    expect(starts.filter((each) => each.startsWith('a'))).toEqual(['a1']);
    await delayed('orders', 2);
    await clock.advance(1_000);
    await waitFor(async () => (await stats('orders')).depth === 0 && (await stats('orders')).delayed === 0);
    const of = (group: string): string[] => starts.filter((each) => each.startsWith(group));
    expect(of('a')).toEqual(['a1', 'a1', 'a2', 'a3']);
    expect(of('b')).toEqual(['b1', 'b2', 'b3']);
    expect(of('c')).toEqual(['c1', 'c1', 'c2', 'c3']); // after its dead letter the group goes on
    expect((await stats('orders')).dlq_depth).toBe(1);
  });

  it('refuses what cannot be queued, in the words clients match on', async () => {
    await start({ orders: { type: 'fifo', message_group_field: 'customer' } });
    const refusal = (queue: string, payload: unknown): Promise<unknown> =>
      enqueue(queue, 'a::b', payload).catch((error: unknown) => error);
    const cases: [string, unknown, string][] = [
      ['order', {}, "Queue 'order' not found. Did you mean 'orders'?"],
      ['nothing-like-it', {}, "Queue 'nothing-like-it' not found"],
      ['orders', {}, "FIFO queue 'orders' requires field 'customer' in data, but it was not found"],
      ['orders', 'text', "FIFO queue 'orders' requires field 'customer' in data, but it was not found"],
      ['orders', { customer: null }, "FIFO queue 'orders': field 'customer' must not be null"],
    ];
    for (const [queue, payload, message] of cases)
      expect(await refusal(queue, payload)).toMatchObject({ code: 'enqueue_error', message });
  });

  it('lets a job wait for its function without spending an attempt, and others pass', async () => {
    await start();
    const ran: unknown[] = [];
    for (let i = 0; i < 30; i++) await enqueue('default', 'late::function', { i });
    client.registerFunction('here::function', (data) => void ran.push(data));
    await enqueue('default', 'here::function', 'passes');
    await waitFor(() => ran.length === 1);
    expect(await stats('default')).toMatchObject({ waiting: 30, waiting_for_function: 30, delayed: 0, dlq_depth: 0 });
    const attempts: number[] = [];
    client.registerFunction(
      'late::function',
      (data: { i: number }, meta) => void attempts.push((meta as QueueMetadata).queue.attempt * 1_000 + data.i),
    );
    await waitFor(() => attempts.length === 30);
    expect(attempts).toEqual(Array.from({ length: 30 }, (_, i) => 1_000 + i));
  });

  it('gives a job of a lost worker to the next one, and dead-letters it when every one dies', async () => {
    await start();
    const attempts: number[] = [];
    const receipt = await enqueue('default', 'poison::pill', {});
    for (let i = 1; i <= 11; i++) {
      const worker = engine.worker(`crasher-${i}`);
      worker.registerFunction('poison::pill', (_data, meta) => {
        attempts.push((meta as QueueMetadata).queue.attempt);
        return new Promise(() => undefined);
      });
      await waitFor(() => attempts.length === i, { what: `delivery ${i}` });
      await worker.shutdown();
      if (i > 1 && i < 11) {
        await delayed('default');
        await clock.advance(30_000);
      }
    }
    const [entry] = await waitFor(async () => {
      const entries = await dead('default');
      return entries.length === 1 ? entries : undefined;
    });
    expect(entry).toMatchObject({ message_receipt_id: receipt, error_code: 'worker_lost', retries: 0 });
    expect(entry?.error).toContain('poison::pill');
    expect(new Set(attempts)).toEqual(new Set([1]));
  });

  it('counts a handler that never answers as a failed attempt', async () => {
    await start({ slow: { timeout_ms: 5_000, max_retries: 1 } });
    let running = 0;
    client.registerFunction('never::ends', () => {
      running++;
      return new Promise(() => undefined);
    });
    await enqueue('slow', 'never::ends', {});
    await waitFor(() => running === 1);
    await clock.advance(5_000);
    await waitFor(async () => (await stats('slow')).dlq_depth === 1);
    expect((await dead('slow'))[0]).toMatchObject({ error_code: 'invocation_timeout', retries: 1 });
  });

  it('finds jobs that waited, ran, were delayed or dead after a restart, and charges nothing', async () => {
    const queues = { q: { max_retries: 2, backoff_ms: 60_000 }, d: { max_retries: 1 } };
    await start(queues);
    const begun: string[] = [];
    client.registerFunction('hangs', () => {
      begun.push('hangs');
      return new Promise(() => undefined);
    });
    client.registerFunction('fails', () => {
      begun.push('fails');
      throw new Error('once');
    });
    await enqueue('q', 'absent', '1.0');
    await enqueue('q', 'hangs', { running: true });
    await enqueue('q', 'fails', { delayed: true });
    const deadReceipt = await enqueue('d', 'fails', { dead: true });
    await waitFor(() => begun.length === 3);
    await delayed('q');
    await waitFor(async () => (await stats('d')).dlq_depth === 1);
    expect(await stats('q')).toMatchObject({ waiting: 1, running: 1, delayed: 1 });

    await restart(queues);
    expect(await stats('q')).toMatchObject({ waiting: 2, running: 0, delayed: 1, waiting_for_function: 2 });
    expect((await dead('d'))[0]).toMatchObject({ message_receipt_id: deadReceipt, error: 'once' });
    const seen: [string, unknown, number, boolean][] = [];
    for (const id of ['absent', 'hangs', 'fails']) {
      client.registerFunction(id, (data, meta) => {
        const { attempt, redelivered } = (meta as QueueMetadata).queue;
        seen.push([id, data, attempt, redelivered]);
      });
    }
    await waitFor(() => seen.length === 2);
    await clock.advance(60_000);
    await waitFor(() => seen.length === 3);
    expect(seen.sort()).toEqual([
      ['absent', '1.0', 1, true],
      ['fails', { delayed: true }, 2, true],
      ['hangs', { running: true }, 1, true],
    ]);
    await waitFor(async () => (await stats('q')).depth === 0);
    await restart(queues);
    expect(await stats('q')).toMatchObject({ depth: 0, delayed: 0 });
  });

  it('works off a backlog that is larger than what it keeps in memory, in order', async () => {
    await start({ one: { concurrency: 1 } });
    const count = 3_000;
    await Promise.all(Array.from({ length: count }, (_, i) => enqueue('one', 'count', i)));
    const seen: number[] = [];
    client.registerFunction('count', (data: number) => void seen.push(data));
    await waitFor(() => seen.length === count, { timeoutMs: 15_000 });
    expect(seen).toEqual(Array.from({ length: count }, (_, i) => i));
    await waitFor(async () => (await stats('one')).depth === 0);
  });

  it('delivers the text that was sent: numbers keep their form, nothing is added', async () => {
    await start();
    const socket = new WebSocket(engine.url);
    try {
      const frames: string[] = [];
      socket.on('message', (frame: Buffer) => frames.push(frame.toString()));
      await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
      socket.send('{"type":"registerfunction","id":"raw"}');
      const data = '{"price":1.0,"big":12345678901234567890,"queue":"data"}';
      const invocation = '6ba7b810-9dad-11d1-80b4-00c04fd430c8';
      socket.send(
        `{"type":"invokefunction","invocation_id":"${invocation}","function_id":"raw","data":${data},"action":{"type":"enqueue","queue":"default"},"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`,
      );
      const delivered = await waitFor(() => frames.find((frame) => frame.includes('"invokefunction"')));
      expect(delivered).toContain(`"data":${data}`);
      expect(delivered).toContain('00-0af7651916cd43dd8448eb211c80319c');
    } finally {
      socket.terminate();
    }
  });

  it('applies edits of the configuration live: added, changed, removed and back, without charging a job', async () => {
    await start({ gone: { max_retries: 1 }, changed: { concurrency: 1 } });
    const configure = (queues: object): Promise<void> =>
      engine.apply({
        ...engine.project.current,
        entries: engine.project.current.entries.map((entry) =>
          entry.canonical === 'queue'
            ? { ...entry, rawConfig: { queue_configs: queues }, config: queueConfig.parse({ queue_configs: queues }) }
            : entry,
        ),
      });
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const attempts: number[] = [];
    client.registerFunction('slow', async (_data, meta) => {
      attempts.push((meta as QueueMetadata).queue.attempt);
      await held;
    });
    for (const queue of ['gone', 'gone', 'changed', 'changed', 'changed']) await enqueue(queue, 'slow', {});
    await enqueue('gone', 'absent', {});
    await waitFor(() => attempts.length === 3);
    await configure({ added: {}, changed: { concurrency: 3 } });
    await waitFor(() => attempts.length === 5);
    await enqueue('added', 'slow', {});
    await waitFor(() => attempts.length === 6);
    expect(await enqueue('gone', 'slow', {}).catch((error: Error) => error.message)).toBe("Queue 'gone' not found");
    expect(await stats('gone')).toMatchObject({ waiting: 1, running: 2, unconfigured: true });
    release();
    await waitFor(async () => (await stats('gone')).running === 0 && (await stats('changed')).depth === 0);
    let late = 0;
    client.registerFunction('absent', () => void late++);
    await enqueue('added', 'absent', {});
    await waitFor(() => late === 1);
    expect(await stats('gone')).toMatchObject({ waiting: 1, dlq_depth: 0 });
    await configure({ gone: {} });
    await waitFor(async () => late === 2 && (await stats('gone')).depth === 0);
    expect(new Set(attempts)).toEqual(new Set([1]));
  });

  it('redrives and discards single messages by job id or receipt', async () => {
    await start({ q: { max_retries: 1 } });
    client.registerFunction('fails', () => {
      throw new Error('no');
    });
    const receipts = [await enqueue('q', 'fails', 1), await enqueue('q', 'fails', 2), await enqueue('q', 'fails', 3)];
    await waitFor(async () => (await stats('q')).dlq_depth === 3);
    const [third, second] = await dead('q', { limit: 2 });
    expect(await dead('q', { offset: 2 })).toHaveLength(1);
    expect(await call('iii::queue::discard_message', { queue: 'q', message_id: receipts[0] })).toEqual({
      queue: 'q',
      message_id: receipts[0],
      redriven: 1,
    });
    expect(await call('iii::queue::discard_message', { queue: 'q', message_id: second?.id })).toMatchObject({
      redriven: 1,
    });
    expect(await call('iii::queue::redrive_message', { queue: 'q', message_id: 'unknown' })).toMatchObject({
      redriven: 0,
    });
    expect(
      await call('iii::queue::redrive_message', { topic: 'q', message_id: third?.message_receipt_id }),
    ).toMatchObject({ redriven: 1 });
    await waitFor(async () => (await stats('q')).dlq_depth === 1);
    expect((await dead('q'))[0]).toMatchObject({ id: third?.id, retries: 1 });
  });

  it('answers wrong input with the codes of the reference, and unknown names with nothing', async () => {
    await start();
    const code = (functionId: string, payload: unknown): Promise<unknown> =>
      call(functionId, payload).then(
        () => 'ok',
        (error: unknown) => (error as { code: string; message: string }).code,
      );
    expect(await code('iii::queue::redrive', { queue: '' })).toBe('queue_not_set');
    expect(await code('iii::queue::redrive', {})).toBe('deserialization_error');
    expect(await code('iii::queue::redrive_message', { queue: 'q', message_id: '' })).toBe('message_id_not_set');
    expect(await code('iii::queue::discard_message', { queue: 'q' })).toBe('deserialization_error');
    expect(await code('engine::queue::topic_stats', { topic: '' })).toBe('topic_required');
    expect(await code('engine::queue::dlq_messages', { topic: '' })).toBe('topic_required');
    expect(await code('iii::durable::publish', { topic: '', data: 1 })).toBe('topic_not_set');
    expect(await code('iii::durable::publish', { topic: 't' })).toBe('deserialization_error');
    expect(await dead('unknown')).toEqual([]);
    expect(await stats('unknown')).toMatchObject({ depth: 0, consumer_count: 0, dlq_depth: 0, config: null });
    expect(await call('engine::queue::list_topics', {})).toEqual([
      { name: 'default', broker_type: 'function_queue', subscriber_count: 10 },
    ]);
    expect(await call('engine::queue::dlq_topics', null)).toEqual([
      { topic: 'default', broker_type: 'function_queue', message_count: 0 },
    ]);
  });
});
