/** What holds of the queue on every broker. Each adapter's own tests call these with its servers and its words. */
import { CuttingProxy, waitFor } from '@trine/testing';
import * as sdk11 from 'iii-sdk-0.11';
import * as sdk22 from 'iii-sdk-0.22';
import { expect } from 'vitest';
import type { Adapter } from './adapters.js';
import type { Beds } from './beds.js';
import type { BrokerBed } from './broker-bed.js';
import { gate, waitUntilWorkedOff, refuses } from './probes.js';
import type { SharedLoad } from './shared-load.js';

/** The oldest and the newest official SDK, for `it.each`. */
export const SDKS = [
  ['0.11.6', sdk11],
  ['0.22.1', sdk22],
] as const;

/** Enqueue, retry, dead letter, redrive and durable topic of an SDK as it is. */
export async function servesSdk(
  beds: Beds,
  adapter: Adapter,
  version: string,
  sdk: typeof sdk11 | typeof sdk22,
): Promise<void> {
  const bed = await beds.queue(adapter, { orders: { max_retries: 2, backoff_ms: 20 } });
  const worker = (sdk as typeof sdk22).registerWorker(bed.engine.url, {
    workerName: `w-${version}`,
    otel: { enabled: false },
  });
  beds.keep({ stop: () => worker.shutdown() });
  const seen: unknown[] = [];
  let fails = true;
  worker.registerFunction('orders::take', async (order: { n: number }) => {
    seen.push(order);
    if (order.n === 2 && fails) throw new Error('not today');
    return { ok: true };
  });
  const heard: unknown[] = [];
  worker.registerFunction('orders::heard', async (message: unknown) => (heard.push(message), null));
  worker.registerTrigger({ type: 'durable:subscriber', function_id: 'orders::heard', config: { topic: 'orders' } });
  const call = <T>(function_id: string, payload: object): Promise<T> =>
    worker.trigger<unknown, T>({ function_id, payload });
  const enqueue = (n: number): Promise<{ messageReceiptId: string }> =>
    worker.trigger({
      function_id: 'orders::take',
      payload: { n },
      action: sdk22.TriggerAction.Enqueue({ queue: 'orders' }),
    });
  expect(await enqueue(1.5)).toEqual({ messageReceiptId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string });
  await waitFor(() => seen.length === 1);
  const { messageReceiptId } = await enqueue(2);
  await waitFor(async () => (await bed.stats('orders')).dlq_depth === 1);
  expect(seen).toEqual([{ n: 1.5 }, { n: 2 }, { n: 2 }]);
  expect(await call('engine::queue::dlq_messages', { topic: 'orders' })).toMatchObject([
    { message_receipt_id: messageReceiptId, retries: 2, error: expect.stringContaining('not today') as string },
  ]);
  fails = false;
  expect(await call('iii::queue::redrive', { queue: 'orders' })).toMatchObject({ redriven: 1 });
  await waitFor(() => seen.length === 4);
  await waitFor(async () => {
    const lines = await bed.call<unknown[]>('engine::queue::subscriptions', { topic: 'orders' });
    return lines.length === 1;
  });
  expect(await bed.call('engine::queue::list_topics', {})).toContainEqual({
    name: 'orders',
    broker_type: adapter.name,
    subscriber_count: 1,
  });
  await call('iii::durable::publish', { topic: 'orders', data: { total: 3 } });
  await waitFor(() => heard.length === 1);
  expect(heard).toEqual([{ total: 3 }]);
}

/**
 * Every engine of the load is killed twice, in turn, under load, and comes back.
 *
 * @param jobs - handled between two steps
 */
export async function losesNothingToEngineKills(load: SharedLoad, jobs: number): Promise<void> {
  for (const member of [...load.members, ...load.members]) {
    await load.underWay(jobs / load.members.length);
    await load.kill(member);
    // The others go on alone, with the groups of all.
    await load.goesOn(jobs);
    await member.start();
  }
  await load.underWay();
  await load.finish();
  expect(load.auditor.faults).toEqual([]);
  expect(load.standard.redelivered + load.ordered.redelivered).toBeGreaterThan(0);
  expect(load.standard.failures).toBeGreaterThan(0);
  expect(load.refused).toBe(0);
}

/**
 * The server is killed under load and started again: meanwhile every enqueue is answered with an error.
 *
 * @param jobs - handled after each start
 */
export async function losesNothingToServerKills(
  load: SharedLoad,
  server: { kill(): Promise<void>; restart(): Promise<void> },
  { kills, jobs }: { readonly kills: number; readonly jobs: number },
): Promise<void> {
  for (let kill = 0; kill < kills; kill++) {
    await load.underWay();
    const { refused } = load;
    await server.kill();
    await waitFor(() => load.refused > refused, { what: 'an enqueue to be refused' });
    await load.brokerIs('unreachable', 10_000);
    for (const member of load.members)
      expect(await load.enqueue(member)).toMatchObject({ kind: 'error', code: 'enqueue_error' });
    await server.restart();
    await load.brokerIs('ready', 30_000);
    await load.goesOn(jobs);
  }
  await load.finish();
  expect(load.auditor.faults).toEqual([]);
}

/** Words of an adapter for one problem. */
export interface Words {
  /** In its health. */
  readonly health: string | RegExp;
  /** In the answer to an enqueue. */
  readonly refusal: string;
}

/**
 * The network to the server is down for a while.
 *
 * @param wordsAt - of the adapter at a port
 */
export async function answersWhileCut(
  beds: Beds,
  serverPort: number,
  adapterAt: (port: number) => Adapter,
  wordsAt: (port: number) => Words,
): Promise<void> {
  const proxy = beds.keep(await CuttingProxy.start(serverPort));
  const { port } = proxy;
  const words = wordsAt(port);
  const bed = await beds.queue(adapterAt(port));
  const { promise: held, open: release } = gate();
  const seen = bed.seenBy('test::job', (data) => (data === 'during' ? held : undefined));
  await bed.enqueue('before');
  await waitFor(() => seen.length === 1);
  expect((await bed.health()).details).toMatchObject({ state: 'ready', durability: 'full' });

  await bed.enqueue('during');
  await waitFor(() => seen.length === 2);
  await proxy.stop();
  await waitFor(async () => (await bed.state()) === 'unreachable');
  const { status, details } = await bed.health();
  expect(status).toBe('degraded');
  expect(details.detail).toMatch(words.health);
  const asked = performance.now();
  await refuses(bed, 'refused', words.refusal);
  expect(performance.now() - asked).toBeLessThan(1_000);
  // Ends while the server is away: the end is kept until it can be stored.
  release();
  beds.keep(await CuttingProxy.start(serverPort, port));
  await waitFor(async () => (await bed.state()) === 'ready');
  await bed.enqueue('after');
  await waitFor(() => seen.length === 3);
  await waitUntilWorkedOff(bed);
  expect(seen).toEqual(['before', 'during', 'after']);
}

/** The server keeps its connections and answers nothing for a while. */
export async function givesUpWhileHeld(
  bed: BrokerBed,
  server: { hold(): unknown; goOn(): unknown },
  { refusal, withinMs }: { readonly refusal: string; readonly withinMs: number },
): Promise<void> {
  await server.hold();
  const asked = performance.now();
  await refuses(bed, 1, refusal);
  expect(performance.now() - asked).toBeLessThan(withinMs);
  expect(await bed.state()).toBe('unreachable');
  await server.goOn();
  await waitFor(async () => (await bed.state()) === 'ready');
  await bed.enqueue(2);
}

/** The server does not know the password of the engine until it is changed there. */
export async function startsWithWrongPassword(
  bed: BrokerBed,
  password: string,
  correct: () => Promise<unknown>,
  words: Words,
): Promise<void> {
  const seen = bed.seenBy();
  const { details } = await bed.health();
  expect(details.state).toBe('unreachable');
  expect(details.durability).toBeUndefined(); // nobody knows yet
  expect(details.detail).toMatch(words.health);
  await refuses(bed, 1, words.refusal);
  await correct();
  await waitFor(async () => (await bed.state()) === 'ready');
  await bed.enqueue(2);
  await waitFor(() => seen.length === 1);
  expect(seen).toEqual([2]);
  expect(bed.log.join('')).not.toContain(password);
  expect(JSON.stringify(await bed.health())).not.toContain(password);
}
