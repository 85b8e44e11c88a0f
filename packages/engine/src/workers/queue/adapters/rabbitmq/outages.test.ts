/** What goes wrong with a server, and what is done about it. */
import amqplib from 'amqplib';
import { CuttingProxy, RabbitServer, waitFor } from '@trine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Broker, Line, NewJob } from '../index.js';
import { RULES, SETTINGS } from '../suite/index.js';
import { openRabbit } from './broker.js';
import { rabbitConfig } from './config.js';
import { MAX_RUN_MS } from './consumer.js';
import { fixtureHost } from './fixtures/host.js';
import { namesOf } from './names.js';
import { CONFIRM_TIMEOUT_MS } from './publisher.js';

/** What a bounded answer may take beyond its bound on a busy machine, in milliseconds. */
const SLACK_MS = 5_000;
const VHOSTS = Array.from({ length: 16 }, (_, i) => `v${i}`);

interface Engine {
  readonly broker: Broker;
  readonly told: string[];
  readonly functions: Set<string>;
}

describe.skipIf(RabbitServer.missing !== undefined)(
  `rabbitmq outages${RabbitServer.missing === undefined ? '' : `: ${RabbitServer.missing}`}`,
  () => {
    let server: RabbitServer;
    const opened: Broker[] = [];
    const free = [...VHOSTS];
    const vhost = (): string => free.pop() as string;

    beforeAll(async () => {
      server = await RabbitServer.start();
      await server.addVhosts(VHOSTS);
    }, 90_000);
    afterAll(async () => {
      await Promise.all(opened.map((broker) => broker.stop()));
      await server.stop();
    });

    async function engine(url: string, dataDir = '/engine/one', functions = ['f']): Promise<Engine> {
      const live = new Set(functions);
      const told: string[] = [];
      const broker = await openRabbit(fixtureHost(dataDir, told), rabbitConfig.parse({ amqp_url: url }), {
        ready: () => undefined,
        missing: (_line, functionId, namespace) => (live.has(functionId) ? undefined : { functionId, namespace }),
        expired: () => undefined,
        topicRules: () => ({ replayRetentionMs: 0, subscriptionRetentionMs: 1_000 }),
      });
      opened.push(broker);
      return { broker, told, functions: live };
    }

    async function queue({ broker }: Engine, rules = {}, concurrency = 10): Promise<Line> {
      const line = (await broker.openQueues(new Map([['q', { ...RULES, ...rules }]]))).get('q') as Line;
      broker.consume(line, concurrency);
      return line;
    }

    function job(data: unknown, more: Partial<NewJob> = {}): NewJob {
      return {
        receipt: undefined,
        functionId: 'f',
        namespace: 'default',
        group: undefined,
        data: JSON.stringify(data),
        metadata: undefined,
        traceparent: undefined,
        baggage: undefined,
        createdAt: Date.now(),
        maxAttempts: 3,
        backoffMs: 1_000,
        extras: undefined,
        ...more,
      };
    }

    /** Takes jobs and ends them. */
    async function drain({ broker }: Engine, line: Line, count: number): Promise<unknown[]> {
      const seen: unknown[] = [];
      while (seen.length < count) {
        const lease = await waitFor(() => broker.reserve(line), {
          what: `a job, after ${seen.length}`,
          timeoutMs: 40_000,
        });
        seen.push(JSON.parse(lease.job.data));
        await broker.settle(lease, { kind: 'done' });
      }
      return seen;
    }

    const isReady = ({ broker }: Engine): Promise<unknown> =>
      waitFor(() => broker.health().state === 'ready', { timeoutMs: 30_000, what: 'the broker to be ready' });

    it('starts with a wrong password, says what to correct, and comes up when it is right', async () => {
      const name = vhost();
      await server.ctl('add_user', 'trine', 'right');
      const own = await engine(server.url(name, 'trine:wrong'));
      const line = await queue(own);
      expect(own.broker.health()).toMatchObject({
        state: 'unreachable',
        detail: expect.stringMatching(/refused the user 'trine' or its password: correct amqp_url/) as string,
      });
      expect(own.broker.health().detail).not.toContain('wrong');
      expect(own.told.join('')).not.toContain('trine:wrong');
      await expect(own.broker.accept(line, job(1))).rejects.toMatchObject({ code: 'enqueue_error' });
      await server.ctl('change_password', 'trine', 'wrong');
      await server.ctl('set_permissions', '-p', name, 'trine', '.*', '.*', '.*');
      await isReady(own);
      await own.broker.accept(line, job('in'));
      expect(await drain(own, line, 1)).toEqual(['in']);
    }, 60_000);

    it('names a virtual host that is not there', async () => {
      const { broker } = await engine(server.url('nowhere'));
      expect(broker.health().detail).toContain('no such virtual host');
    });

    it('answers within 10 s while the server holds still, and loses nothing', async () => {
      const own = await engine(server.url(vhost()));
      const line = await queue(own);
      await own.broker.accept(line, job('before'));
      server.hold();
      const from = performance.now();
      const answer = await own.broker.accept(line, job('during')).catch((error: unknown) => error);
      const tookMs = performance.now() - from;
      server.go();
      expect(answer).toMatchObject({
        code: 'enqueue_error',
        message: expect.stringContaining('did not confirm the message within 10 s') as string,
      });
      expect(tookMs).toBeGreaterThan(CONFIRM_TIMEOUT_MS - 100);
      expect(tookMs).toBeLessThan(CONFIRM_TIMEOUT_MS + SLACK_MS);
      await isReady(own);
      await waitFor(() => own.broker.accept(line, job('after')).catch(() => undefined), { timeoutMs: 30_000 });
      const seen = new Set<unknown>();
      while (!seen.has('after')) for (const each of await drain(own, line, 1)) seen.add(each);
      expect(seen).toContain('before');
    }, 60_000);

    it('refuses jobs at once while the server is short of memory, goes on working off, and recovers', async () => {
      const own = await engine(server.url(vhost()));
      const line = await queue(own);
      for (let i = 0; i < 3; i++) await own.broker.accept(line, job(i));
      await server.ctl('set_vm_memory_high_watermark', 'absolute', '1MB');
      // The server tells a connection when it publishes; that message may be stored.
      const first = own.broker.accept(line, job('first')).then(
        () => ['first'],
        () => [],
      );
      try {
        await waitFor(() => own.broker.health().state === 'degraded', { timeoutMs: 15_000, what: 'the alarm' });
        expect(own.broker.health().detail).toContain('takes no messages (low on memory)');
        await expect(own.broker.accept(line, job('refused'))).rejects.toMatchObject({
          code: 'enqueue_error',
          message: expect.stringContaining('free memory or disk') as string,
        });
        expect(await drain(own, line, 3)).toEqual([0, 1, 2]);
        await first;
      } finally {
        await server.ctl('set_vm_memory_high_watermark', '0.8');
      }
      await isReady(own);
      await own.broker.accept(line, job('after'));
      const seen: unknown[] = [];
      while (!seen.includes('after')) seen.push(...(await drain(own, line, 1)));
      expect(seen).toEqual(expect.arrayContaining(await first));
      expect(seen).not.toContain('refused');
    }, 60_000);

    it('keeps the end of a job whose answer came while the connection was gone', async () => {
      const proxy = await CuttingProxy.start(server.port);
      const own = await engine(`amqp://127.0.0.1:${proxy.port}/${vhost()}`);
      const line = await queue(own);
      for (const data of ['done', 'failed']) await own.broker.accept(line, job(data));
      const leases = [await waitFor(() => own.broker.reserve(line)), await waitFor(() => own.broker.reserve(line))];
      proxy.cut();
      await waitFor(() => own.broker.health().state === 'unreachable');
      const failed = {
        kind: 'postpone',
        delayMs: 10,
        attempts: 1,
        lost: 0,
        failures: [{ at: 1, error: 'no' }],
      } as const;
      await own.broker.settle(leases[0] as never, { kind: 'done' });
      await own.broker.settle(leases[1] as never, failed);
      await isReady(own);
      const again = await waitFor(() => own.broker.reserve(line));
      expect(again.job).toMatchObject({ data: '"failed"', attempts: 1, failures: failed.failures });
      await own.broker.settle(again, { kind: 'done' });
      await waitFor(async () => (await own.broker.stats([line])).waiting === 0);
      expect(own.broker.reserve(line)).toBeUndefined();
      await own.broker.stop();
      await proxy.stop();
    });

    it('runs each message of another program, whatever its correlation id and headers say', async () => {
      const name = vhost();
      const proxy = await CuttingProxy.start(server.port);
      const own = await engine(`amqp://127.0.0.1:${proxy.port}/${name}`);
      const line = await queue(own);
      const { queue: target } = namesOf({ kind: 'queue', name: 'q', namespace: '', functionId: '' });
      const client = await amqplib.connect(server.url(name));
      const channel = await client.createConfirmChannel();
      for (const n of [1, 2]) {
        channel.sendToQueue(target, Buffer.from(`{"n":${n}}`), {
          correlationId: 'order-7',
          headers: { function_id: 'f' },
        });
      }
      channel.sendToQueue(target, Buffer.from('{"n":3}'), { headers: { function_id: 'f', 'x-trine': '{' } });
      await channel.waitForConfirms();
      await client.close();
      const first = await waitFor(() => own.broker.reserve(line));
      proxy.cut();
      await waitFor(() => own.broker.health().state === 'unreachable');
      await own.broker.settle(first, { kind: 'done' });
      await isReady(own);
      const seen = new Set<unknown>();
      while (seen.size < 3) seen.add((await drain(own, line, 1)).map((data) => JSON.stringify(data)).join());
      expect(own.told.join('')).not.toContain('JSON');
      await own.broker.stop();
      await proxy.stop();
    });

    it('uses a classic queue of the reference with a warning that says how to migrate', async () => {
      const url = server.url(vhost());
      const names = namesOf({ kind: 'queue', name: 'q', namespace: '', functionId: '' });
      const client = await amqplib.connect(url);
      const channel = await client.createChannel();
      await channel.assertQueue(names.queue, {
        durable: true,
        arguments: { 'x-dead-letter-exchange': names.deadExchange, 'x-max-priority': 5 },
      });
      await channel.assertQueue(names.dead, { durable: true });
      channel.sendToQueue(names.queue, Buffer.from('{"old":1}'), {
        messageId: 'old-1',
        persistent: true,
        headers: { function_id: 'f' },
      });
      channel.sendToQueue(names.queue, Buffer.from('no json'), { messageId: 'old-2', headers: { function_id: 'f' } });
      await channel.close();
      await client.close();
      const own = await engine(url);
      const line = await queue(own);
      expect(own.told.join('')).toMatch(/To migrate: .*iii\.__fn_queue::q\.queue/);
      const lease = await waitFor(() => own.broker.reserve(line));
      expect(lease.job).toMatchObject({ receipt: 'old-1', data: '{"old":1}', maxAttempts: 3 });
      await own.broker.settle(lease, { kind: 'postpone', delayMs: 20, attempts: 1, lost: 0, failures: [] });
      await own.broker.accept(line, job('new'));
      expect((await drain(own, line, 2)).length).toBe(2);
      await waitFor(async () => own.broker.reserve(line) === undefined && (await own.broker.stats([line])).dead === 1);
      const { letters } = await own.broker.browseDead([line], { offset: 0, limit: 10, maxBytes: 10_000 });
      expect(letters[0]).toMatchObject({ receipt: 'old-2', code: 'unreadable_message', data: '"no json"' });
    });

    it('refuses fifo on a queue that was made for standard jobs', async () => {
      const url = server.url(vhost());
      await queue(await engine(url));
      await expect(queue(await engine(url), { serial: true })).rejects.toThrow(
        'cannot keep an order over several engines',
      );
    });

    it('says that nobody is there to hold a message for', async () => {
      const own = await engine(server.url(vhost()));
      const message = { topic: 't', data: '1', traceparent: undefined, baggage: undefined, createdAt: Date.now() };
      await expect(own.broker.publish(message)).rejects.toMatchObject({
        code: 'not_supported_by_adapter',
        message: expect.stringMatching(/topic 't' has no subscription.*held_messages.*builtin/) as string,
      });
      const spec = { kind: 'subscription', name: 't', namespace: 'default', functionId: 'f' } as const;
      const line = await own.broker.subscribe(spec, SETTINGS);
      own.broker.consume(line, 1);
      await own.broker.publish(message);
      expect(await drain(own, line, 1)).toEqual([1]);
    });

    it('pauses on one engine only', async () => {
      const url = server.url(vhost());
      const [one, two] = [await engine(url), await engine(url, '/engine/two')];
      const [paused, other] = [await queue(one), await queue(two)];
      await one.broker.setPaused?.(paused, true);
      for (let i = 0; i < 20; i++) await one.broker.accept(paused, job(i));
      expect((await drain(two, other, 20)).sort()).toEqual(Array.from({ length: 20 }, (_, i) => i).sort());
      expect(other.paused).toBe(false);
    });

    it('brings jobs and messages to the engine on which their function is', async () => {
      const url = server.url(vhost());
      const [one, two] = [await engine(url), await engine(url, '/engine/two', ['g'])];
      const [here, there] = [await queue(one), await queue(two)];
      await Promise.all(
        Array.from({ length: 30 }, (_, i) => one.broker.accept(here, job(i, { functionId: i % 2 === 0 ? 'f' : 'g' }))),
      );
      const seen = [new Set<unknown>(), new Set<unknown>()] as const;
      await waitFor(
        async () => {
          for (const [i, { broker }] of [one, two].entries()) {
            const lease = broker.reserve(i === 0 ? here : there);
            if (lease === undefined) continue;
            seen[i]?.add(JSON.parse(lease.job.data));
            await broker.settle(lease, { kind: 'done' });
          }
          return seen[0].size + seen[1].size === 30;
        },
        { timeoutMs: 60_000, what: 'all jobs' },
      );
      expect([...seen[0]].every((n) => Number(n) % 2 === 0)).toBe(true);
      expect([...seen[1]].every((n) => Number(n) % 2 === 1)).toBe(true);
      const spec = { kind: 'subscription', name: 't', namespace: 'default', functionId: 'g' } as const;
      const [deaf, hearing] = [await one.broker.subscribe(spec, SETTINGS), await two.broker.subscribe(spec, SETTINGS)];
      one.broker.consume(deaf, 1);
      two.broker.consume(hearing, 1);
      const message = { topic: 't', traceparent: undefined, baggage: undefined, createdAt: Date.now() };
      for (let i = 0; i < 10; i++) {
        await one.broker.publish({ ...message, data: String(i) });
        one.broker.reserve(deaf);
      }
      expect((await drain(two, hearing, 10)).length).toBe(10);
    }, 90_000);

    it('delivers a message that was returned many times', async () => {
      const url = server.url(vhost());
      const first = await engine(url);
      await first.broker.accept(await queue(first), job('kept'));
      await first.broker.stop();
      for (let i = 0; i < 25; i++) {
        const own = await engine(url);
        const line = await queue(own);
        await waitFor(() => own.broker.reserve(line));
        await own.broker.stop();
      }
      const last = await engine(url);
      expect(await drain(last, await queue(last), 1)).toEqual(['kept']);
    }, 60_000);

    it('lets no run outlast what the server waits for', async () => {
      const own = await engine(server.url(vhost()));
      const line = await queue(own, { timeoutMs: 30 * 60_000 });
      await own.broker.accept(line, job(1));
      expect((await waitFor(() => own.broker.reserve(line))).job.extras?.timeoutMs).toBe(MAX_RUN_MS);
      expect(own.told.join('')).toContain('25 min at most');
    });

    it('makes a queue again that was deleted on the server', async () => {
      const name = vhost();
      const own = await engine(server.url(name));
      const line = await queue(own);
      await server.ctl('delete_queue', '-p', name, namesOf(line).queue);
      await waitFor(() => own.broker.accept(line, job('again')).then(() => true));
      expect(await drain(own, line, 1)).toEqual(['again']);
    }, 30_000);

    it('ends a subscription that nobody comes back to, and removes it', async () => {
      const own = await engine(server.url(vhost()));
      const spec = { kind: 'subscription', name: 't', namespace: 'default', functionId: 'f' } as const;
      const line = await own.broker.subscribe(spec, SETTINGS);
      await own.broker.leave(line, 'offline');
      const lines = (): Promise<readonly Line[]> => own.broker.lines({ kind: 'subscription' });
      await waitFor(async () => {
        await own.broker.sweep();
        return (await lines())[0]?.endedAt !== undefined;
      });
      await waitFor(async () => {
        await own.broker.sweep();
        return (await lines()).length === 0;
      });
    });
  },
);
