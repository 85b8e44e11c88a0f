import { RawWorker, waitFor } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { QueueEngine } from './fixtures/queue-engine.js';

describe('an answer after the timeout', () => {
  let engine: QueueEngine;
  beforeEach(async () => void (engine = await QueueEngine.start({ slow: { timeout_ms: 5_000, backoff_ms: 10_000 } })));
  afterEach(() => engine.stop());

  it('ends a job that is delayed: it does not run again', async () => {
    let answer!: () => void;
    let runs = 0;
    engine.client.registerFunction('slow', async () => {
      runs++;
      await new Promise<void>((go) => (answer = go));
    });
    const receipt = await engine.put('slow', 'slow', 1);
    await waitFor(() => runs === 1);
    await engine.clock.advance(5_000);
    await engine.untilState(receipt, 'delayed');
    await engine.clock.advance(100);
    answer();
    await engine.untilState(receipt, 'done');
    await engine.clock.advance(60_000);
    expect(await engine.stats('slow')).toMatchObject({ depth: 0, delayed: 0, dlq_depth: 0 });
    expect(runs).toBe(1);
    await engine.restart({ slow: {} });
    expect(await engine.stats('slow')).toMatchObject({ depth: 0, delayed: 0 });
  });

  it('is ignored once the job runs again, and a late failure says nothing', async () => {
    const answers: ((error?: Error) => void)[] = [];
    engine.client.registerFunction('slow', async () => {
      await new Promise<void>((go, fail) => answers.push((error) => (error === undefined ? go() : fail(error))));
    });
    const receipt = await engine.put('slow', 'slow', 1);
    await waitFor(() => answers.length === 1);
    await engine.clock.advance(5_000);
    await engine.untilState(receipt, 'delayed');
    await engine.clock.advance(10_000);
    await waitFor(() => answers.length === 2);
    answers[0]?.();
    await engine.call('engine::queue::list_topics', {});
    expect((await engine.job(receipt)).state).toBe('running');
    await engine.clock.advance(5_000);
    await engine.untilState(receipt, 'delayed');
    answers[1]?.(new Error('late'));
    await engine.call('engine::queue::list_topics', {});
    expect(await engine.job(receipt)).toMatchObject({ state: 'delayed', failed_attempts: 2 });
  });

  it('is heard from a worker on a socket', async () => {
    const worker = await RawWorker.connect(engine.engine.url);
    try {
      worker.send({ type: 'registerfunction', id: 'far' });
      const receipt = await engine.put('slow', 'far', 1);
      const call = await worker.frame('invokefunction');
      await engine.clock.advance(5_000);
      await engine.untilState(receipt, 'delayed');
      worker.send({ type: 'invocationresult', invocation_id: call['invocation_id'], function_id: 'far', result: 1 });
      await engine.untilState(receipt, 'done');
    } finally {
      worker.drop();
    }
  });
});
