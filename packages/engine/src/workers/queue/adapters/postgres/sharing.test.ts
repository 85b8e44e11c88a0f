/** Several engines on one PostgreSQL, and applications beside them. */
import { postgresMissing, PostgresServer, waitFor, type CuttingProxy } from '@trine/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Line } from '../index.js';
import { House } from '../suite/index.js';
import { DEFAULT_LEASE_MS } from './config.js';
import { postgresStore, type PostgresStore } from './fixtures/store.js';
import type { PgLine } from './line.js';
import { POLL_EVERY_MS } from './upkeep.js';

const missing = postgresMissing();
const title = `PostgreSQL, shared${missing === undefined ? '' : `: skipped, ${missing}`}`;
let server: PostgresServer;

describe.skipIf(missing !== undefined)(title, () => {
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(() => server.stop());

  let store: PostgresStore;
  let a: House;
  let b: House;
  beforeEach(async () => {
    store = postgresStore(server);
    a = await House.open(store);
    b = await House.open(store);
  });
  afterEach(async () => {
    await a.stop();
    await b.stop();
    await store.remove();
  });

  const sql = (text: string): Promise<string> => server.sql(text.replaceAll('trine.', `${store.schema}.`), 'jobs');
  const both = async (...words: Parameters<House['queue']>): Promise<[Line, Line]> => [
    await a.queue(...words),
    await b.queue(...words),
  ];

  describe('two engines', () => {
    it('share the jobs of a queue, and each job has one lease', async () => {
      const [lineA, lineB] = await both();
      const sent = await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 ? a : b).accept(lineA, i)));
      const seen: string[] = [];
      await waitFor(async () => {
        for (const [house, line] of [
          [a, lineA],
          [b, lineB],
        ] as const) {
          const lease = house.broker.reserve(line);
          if (lease === undefined) continue;
          seen.push(lease.job.receipt);
          await house.broker.settle(lease, { kind: 'done' });
        }
        return seen.length >= 40;
      });
      expect([...seen].sort()).toEqual([...sent].sort());
    });

    for (const [what, statement, function_] of [
      ['job', 'trine_store_jobs', 'f'],
      ['job with a unique key', 'trine_store_unique', 'f'],
      ['message', 'trine_publish', 's'],
    ] as const) {
      describe(`store a ${what} once`, () => {
        const ran: unknown[] = [];
        let proxy: CuttingProxy;
        let line: Line;
        let send: () => Promise<unknown>;
        /** Runs on the other engine what is there, and answers what is left. */
        const run = async (): Promise<string> => {
          const lease = b.broker.reserve(line);
          if (lease !== undefined) {
            ran.push(JSON.parse(lease.job.data));
            await b.broker.settle(lease, { kind: 'done' });
          }
          return sql('SELECT count(*) FROM trine.jobs');
        };
        beforeEach(async () => {
          ran.length = 0;
          b.functions.add(function_);
          const [lineA, queueB] = await both();
          a.broker.consume(lineA, 0);
          line = what === 'message' ? await b.subscription(function_) : queueB;
          proxy = store.proxyOf(a.broker);
          const extras = what === 'job' ? undefined : { uniqueKey: 'k' };
          send = async () =>
            what === 'message'
              ? a.broker.publish(a.message('once'))
              : a.broker.accept(lineA, a.job('once', { extras }));
        });

        it('when the answer is lost, though it has run and ended meanwhile', async () => {
          proxy.muteAt(statement);
          const stored = send();
          await waitFor(() => proxy.isMute);
          await waitFor(async () => (await run()) === '0' && ran.length > 0);
          proxy.cut();
          if (what.startsWith('job')) expect(await stored).toMatchObject({ deduplicated: false });
          else await stored;
          expect(await run()).toBe('0');
          expect(ran).toEqual(['once']);
        });

        it('when it arrives after it was given up and sent again', async () => {
          proxy.holdAt(statement);
          const stored = send();
          await waitFor(() => proxy.isHolding);
          proxy.cut();
          await stored;
          await waitFor(async () => (await run()) === '0' && ran.length > 0);
          await proxy.deliver();
          expect(await run()).toBe('0');
          expect(ran).toEqual(['once']);
        });
      });
    }

    it('remember that a batch was given up, though its writer stored nothing for a day before', async () => {
      const [lineA] = await both();
      const storeJob = (batch: number): Promise<string> =>
        sql(
          `SELECT trine.store_jobs('w', ${batch}, '[{"line":${String((lineA as PgLine).id)},"receipt":"r${batch}","fn":"f","ns":"default","data":"7","size":1,"created":1,"tries":1,"backoff":1}]', 1)`,
        );
      await storeJob(1);
      await sql("UPDATE trine.batches SET at = 1 WHERE writer = 'w'");
      expect(await sql("SELECT given_up FROM trine.give_up('w', 2)")).toBe('t');
      await b.broker.sweep();
      await expect(storeJob(2)).rejects.toThrow('comes too late');
    });

    it('keep the order of the calls when a bad job splits a batch and the connection is lost behind it', async () => {
      const [lineA] = await both();
      a.broker.consume(lineA, 0);
      b.broker.consume(lineA, 0);
      const proxy = store.proxyOf(a.broker);
      const bad = a.broker
        .accept(lineA, a.job(0, { receipt: 'nul\u0000' }))
        .catch(() => proxy.holdAt('trine_store_jobs'));
      const good = Promise.all([1, 2, 3].map((n) => a.accept(lineA, n)));
      await bad;
      await waitFor(() => proxy.isHolding);
      proxy.cut();
      await good;
      expect(await sql("SELECT string_agg(data, ',' ORDER BY seq) FROM trine.jobs")).toBe('1,2,3');
    });

    for (const [until, endsIt] of [
      ['the server was away for too long', (): void => undefined],
      ['the engine stops', (): unknown => a.stop()],
    ] as const) {
      it(`say that nobody knows when an answer is lost and ${until}, and do not send it again`, async () => {
        const [lineA, lineB] = await both();
        const proxy = store.proxyOf(a.broker);
        proxy.muteAt('trine_store_jobs');
        const stored = a.accept(lineA, 'once');
        await waitFor(() => proxy.isMute);
        expect(await b.drain(lineB, 1)).toEqual(['once']);
        proxy.refusing = true;
        proxy.cut();
        await waitFor(() => a.broker.health().state === 'unreachable');
        const stopped = endsIt();
        await expect(stored).rejects.toThrow('nobody knows whether this was stored');
        await stopped;
        proxy.refusing = false;
        if (stopped === undefined) await waitFor(() => a.accept(lineA, 'next'));
        else await b.accept(lineB, 'next');
        expect(await b.drain(lineB, 1)).toEqual(['next']);
        expect(await sql('SELECT count(*) FROM trine.jobs')).toBe('0');
      });
    }

    it('keep a new connection when a statement of the old one fails late', async () => {
      const [lineA] = await both();
      const backends = (where: string): string => `FROM pg_stat_activity WHERE application_name = 'trine' AND ${where}`;
      const locker = sql(
        "SET application_name = 'locker'; BEGIN; LOCK TABLE trine.unique_keys; SELECT pg_sleep(60)",
      ).catch(() => undefined);
      await waitFor(
        async () => (await sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")) === '1',
      );
      const stored = a.broker.accept(lineA, a.job('once', { extras: { uniqueKey: 'k' } }));
      await waitFor(async () => (await sql(`SELECT count(*) ${backends("wait_event_type = 'Lock'")}`)) === '1');
      await sql(`SELECT pg_terminate_backend(pid) ${backends("wait_event_type <> 'Lock'")}`);
      await waitFor(() => store.said('lost PostgreSQL') === 2);
      await waitFor(() => [a, b].every(({ broker }) => broker.health().state === 'ready'));
      await sql(`SELECT pg_terminate_backend(pid) ${backends("wait_event_type = 'Lock'")}`);
      await sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'locker'");
      await locker;
      expect(await stored).toMatchObject({ deduplicated: false });
      expect(store.said('lost PostgreSQL')).toBe(2);
    });

    it('store all of a call or nothing, when a queue of it was deleted there', async () => {
      const [lineA] = await both();
      const gone = await a.queue({}, 'gone');
      a.broker.consume(lineA, 0);
      b.broker.consume(lineA, 0);
      await sql("DELETE FROM trine.lines WHERE name = 'gone'");
      const bad = a.broker.acceptMany?.([lineA, gone].map((line) => ({ line, job: a.job('with the other') })));
      const good = a.accept(lineA, 'alone');
      await expect(bad).rejects.toMatchObject({ code: 'storage_refused' });
      await expect(bad).rejects.toThrow("queue 'gone' is not in PostgreSQL any more");
      await good;
      expect(await sql('SELECT data FROM trine.jobs')).toBe('"alone"');
    });

    it('answer whose key it is when that answer is lost', async () => {
      const [lineA] = await both();
      const first = await a.accept(lineA, 1, { extras: { uniqueKey: 'k' } });
      const proxy = store.proxyOf(a.broker);
      proxy.muteAt('trine_store_unique');
      const second = a.broker.accept(lineA, a.job(2, { extras: { uniqueKey: 'k' } }));
      await waitFor(() => proxy.isMute);
      await waitFor(async () => (await sql('SELECT answer FROM trine.batches WHERE batch = 2')).includes(first));
      proxy.cut();
      expect(await second).toEqual({ receipt: first, deduplicated: true });
    });

    for (const serial of [false, true]) {
      it(`run what was leased by an answer that was lost as soon as the server is back${serial ? ', in order' : ''}`, async () => {
        const line = await a.queue({ serial });
        const proxy = store.proxyOf(a.broker);
        proxy.muteAt(serial ? 'trine_lease_heads' : 'trine_lease');
        for (const n of [1, 2]) await b.accept(await b.queue({ serial }), n);
        expect(a.broker.reserve(line)).toBeUndefined();
        await waitFor(() => proxy.isMute);
        await waitFor(async () => (await sql('SELECT count(*) FROM trine.jobs WHERE state = 2')) !== '0');
        proxy.cut();
        expect(await a.drain(line, 2)).toEqual([1, 2]);
      });
    }

    it('answer no receipt for a queue that was deleted there, and make it again', async () => {
      const [lineA] = await both();
      await a.accept(lineA, 'before');
      expect(await a.drain(lineA, 1)).toEqual(['before']);
      await sql('DELETE FROM trine.lines');
      await expect(a.accept(lineA, 'nowhere')).rejects.toThrow("queue 'q' is not in PostgreSQL any more");
      const unique = a.accept(lineA, 'nowhere', { extras: { uniqueKey: 'k' } });
      await expect(unique).rejects.toThrow("queue 'q' is not in PostgreSQL any more");
      expect(await sql('SELECT count(*) FROM trine.jobs')).toBe('0');
      await store.pass(POLL_EVERY_MS);
      await waitFor(() => a.accept(lineA, 'after'));
      expect(await a.drain(lineA, 1)).toEqual(['after']);
    });

    it('lease only what is live on them', async () => {
      const [lineA, lineB] = await both();
      a.functions.add('only-a');
      await b.accept(lineB, 'for a', { functionId: 'only-a' });
      await b.accept(lineB, 'for both');
      expect(await b.drain(lineB, 1)).toEqual(['for both']);
      expect(await b.nothing(lineB)).toBe(true);
      expect(await a.drain(lineA, 1)).toEqual(['for a']);
    });

    it('hear of a new job at once, and without a notification at the next poll', async () => {
      const [lineA, lineB] = await both();
      expect(await b.nothing(lineB)).toBe(true);
      await a.accept(lineA, 'told');
      expect(await b.drain(lineB, 1)).toEqual(['told']);
      expect(await b.nothing(lineB)).toBe(true);
      await sql(
        `SELECT trine.insert_jobs('[{"line":1,"receipt":"r","fn":"f","ns":"default","data":"7","size":1,"created":1,"tries":1,"backoff":1}]')`,
      );
      await store.pass(POLL_EVERY_MS);
      expect(await b.drain(lineB, 1)).toEqual([7]);
    });

    it('never run two jobs of a fifo group at once, whoever has it', async () => {
      const [lineA, lineB] = await both({ serial: true });
      for (let i = 0; i < 6; i++) await (i % 2 ? a : b).accept(i % 2 ? lineA : lineB, i, { group: 'g' });
      const order: unknown[] = [];
      for (let i = 0; i < 6; i++) {
        const [house, line, other, otherLine] =
          i % 2 ? ([a, lineA, b, lineB] as const) : ([b, lineB, a, lineA] as const);
        const lease = await house.lease(line);
        expect(await other.nothing(otherLine)).toBe(true);
        order.push(JSON.parse(lease.job.data));
        await house.broker.settle(lease, { kind: 'done' });
        await house.broker.stats([line]);
        // Whoever asks first has the next one: the other one's turn.
        house.broker.consume(line, 0);
        other.broker.consume(otherLine, 10);
        await waitFor(async () => i === 5 || (await sql('SELECT count(*) FROM trine.jobs')) === String(5 - i));
        house.broker.consume(line, 10);
      }
      expect(order).toEqual([0, 1, 2, 3, 4, 5]);
    });

    it('run at most so many together', async () => {
      const [lineA, lineB] = await both({ globalConcurrency: 3 });
      for (let i = 0; i < 5; i++) await a.accept(lineA, i);
      const first = await a.lease(lineA);
      const rest = [await a.lease(lineA), await a.lease(lineA)];
      expect(rest).toHaveLength(2);
      expect(await b.nothing(lineB)).toBe(true);
      await a.broker.settle(first, { kind: 'done' });
      expect((await b.lease(lineB)).job.data).toBe('3');
      expect(await a.nothing(lineA)).toBe(true);
    });

    it('start at most so many in a time together', async () => {
      const [lineA, lineB] = await both({ rate: { max: 2, perMs: 2_000 } });
      for (let i = 0; i < 4; i++) await a.accept(lineA, i);
      expect(await a.drain(lineA, 2)).toEqual([0, 1]);
      expect(await b.nothing(lineB)).toBe(true);
      await store.pass(2_001);
      expect(await b.drain(lineB, 2)).toEqual([2, 3]);
      expect(await a.nothing(lineA)).toBe(true);
    });

    it('pause together', async () => {
      const [lineA, lineB] = await both();
      await a.broker.setPaused?.(lineA, true);
      await waitFor(() => lineB.paused);
      await a.accept(lineA, 1);
      expect(await b.nothing(lineB)).toBe(true);
      await b.broker.setPaused?.(lineB, false);
      expect(await b.drain(lineB, 1)).toEqual([1]);
    });

    it('bring a message to subscriptions of either', async () => {
      const f = await a.subscription('f');
      const g = await b.subscription('g');
      await a.broker.publish(a.message(1));
      expect(await a.drain(f, 1)).toEqual([1]);
      expect(await b.drain(g, 1)).toEqual([1]);
    });

    it('drop no more of a full backlog together than one would alone', async () => {
      const [ofA, ofB] = [await a.subscription('f', { maxBacklog: 10 }), await b.subscription('f', { maxBacklog: 10 })];
      a.broker.consume(ofA, 0);
      b.broker.consume(ofB, 0);
      for (let round = 0; round < 10; round++) {
        await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 ? a : b).broker.publish(a.message(i))));
      }
      const waiting = async (): Promise<number> => (await a.broker.stats([ofA])).waiting;
      await waitFor(async () => (await waiting()) <= 10);
      await waitFor(() => (a.expired.get('f') ?? 0) + (b.expired.get('f') ?? 0) >= 390);
      expect(await waiting()).toBe(10);
    });

    it('know a subscription as offline when the last of them has left it', async () => {
      const [ofA, ofB] = [await a.subscription('f'), await b.subscription('f')];
      const offline = async (): Promise<boolean> =>
        (await b.broker.lines({ kind: 'subscription' }))[0]?.offlineSince !== undefined;
      await a.broker.leave(ofA, 'offline');
      expect(await offline()).toBe(false);
      await b.broker.leave(ofB, 'offline');
      expect(await offline()).toBe(true);
      await a.subscription('f');
      expect(await offline()).toBe(false);
    });

    it('end a subscription when the last of them ends it', async () => {
      const [ofA, ofB] = [await a.subscription('f'), await b.subscription('f')];
      await a.broker.leave(ofA, 'ended');
      await a.broker.publish(a.message(1));
      expect(await b.drain(ofB, 1)).toEqual([1]);
      await b.broker.leave(ofB, 'ended');
      expect((await a.broker.lines({ kind: 'subscription' }))[0]?.endedAt).toBeDefined();
    });
  });

  describe('an engine that dies', () => {
    it('gives its jobs to others when its lease runs out, without a charge; its late answer counts no more', async () => {
      const [lineA, lineB] = await both({ serial: true });
      const receipt = await a.accept(lineA, 1, { group: 'g' });
      await a.accept(lineA, 2, { group: 'g' });
      const lost = await a.lease(lineA);
      expect(await b.nothing(lineB)).toBe(true);
      const heal = await store.cutOff(a.broker);
      await waitFor(() => a.broker.health().state === 'unreachable');
      await store.pass(DEFAULT_LEASE_MS - 1);
      expect(await b.nothing(lineB)).toBe(true);
      await store.pass(POLL_EVERY_MS);
      const lease = await b.lease(lineB);
      expect(lease.job).toMatchObject({ receipt, attempts: 0, redelivered: true });
      const late = a.broker.settle(lost, { kind: 'done' });
      await heal();
      await late;
      expect((await b.broker.stats([lineB])).running).toBe(1);
      await b.broker.settle(lease, { kind: 'done' });
      expect(await b.drain(lineB, 1)).toEqual([2]);
    });

    it('ends a job whose answer comes late, when nobody has leased it since', async () => {
      const lineA = await a.queue();
      await a.accept(lineA, 1);
      const lost = await a.lease(lineA);
      const heal = await store.cutOff(a.broker);
      await waitFor(() => a.broker.health().state === 'unreachable');
      await store.pass(DEFAULT_LEASE_MS + POLL_EVERY_MS);
      await waitFor(async () => (await sql('SELECT state FROM trine.jobs')) === '0');
      const late = a.broker.settle(lost, { kind: 'done' });
      await heal();
      await late;
      expect(await sql('SELECT count(*) FROM trine.jobs')).toBe('0');
    });
  });

  describe('enqueue in SQL', () => {
    const enqueue = (...words: string[]): string => `SELECT trine.enqueue(${words.join(', ')})`;

    it('stores a job with the transaction that calls it, and nothing after a rollback', async () => {
      const line = await a.queue();
      expect(await a.nothing(line)).toBe(true);
      await sql('CREATE TABLE trine.orders (id integer)');
      const order = (n: number, end: string): Promise<string> =>
        sql(
          `BEGIN; INSERT INTO trine.orders VALUES (${n}); ${enqueue(`'q'`, `'f'`, `'{"order":${n},"price":1.0}'`)}; ${end}`,
        );
      await order(1, 'ROLLBACK');
      expect(await sql('SELECT count(*) FROM trine.jobs')).toBe('0');
      // Not visible before the commit.
      const held = order(2, 'SELECT pg_sleep(0.5); COMMIT');
      await waitFor(
        async () => (await sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")) === '1',
      );
      expect(await a.nothing(line)).toBe(true);
      const receipt = await held;
      const lease = await a.lease(line);
      expect(lease.job).toMatchObject({
        receipt: receipt.split('\n')[0],
        data: '{"order":2,"price":1.0}',
        functionId: 'f',
        namespace: 'default',
        maxAttempts: 3,
        redelivered: false,
      });
      expect(await sql('SELECT id FROM trine.orders')).toBe('2');
    });

    it('takes the options of an enqueue and the defaults of the queue', async () => {
      const line = await a.queue({
        defaults: { maxAttempts: 7, backoffMs: 50, backoffListMs: [1, 2], priorityField: 'urgency', maxPriority: 10 },
      });
      await sql(enqueue(`'q'`, `'f'`, `'{"urgency":99}'`));
      await sql(
        enqueue(
          `'q'`,
          `'g'`,
          `'1'`,
          `'{"max_retries":2,"backoff_ms":9,"priority":11,"timeout_ms":5,"metadata":{"u":1}}'`,
        ),
      );
      const [first, second] = [await a.lease(line), await a.lease(line)];
      expect(first.job).toMatchObject({ functionId: 'g', maxAttempts: 2, backoffMs: 9, metadata: '{"u":1}' });
      expect(first.job.extras).toEqual({ priority: 11, timeoutMs: 5 });
      expect(second.job).toMatchObject({ maxAttempts: 7, backoffMs: 50 });
      expect(second.job.extras).toEqual({ priority: 10, backoffListMs: [1, 2] });
    });

    it('delays, expires and keeps unique keys', async () => {
      const line = await a.queue();
      await sql(enqueue(`'q'`, `'f'`, `'"later"'`, `'{"delay_ms":2000}'`));
      await sql(enqueue(`'q'`, `'absent'`, `'"gone"'`, `'{"expires_in_ms":1000}'`));
      const first = await sql(enqueue(`'q'`, `'f'`, `'"one"'`, `'{"unique_key":"k"}'`));
      expect(await sql(enqueue(`'q'`, `'f'`, `'"two"'`, `'{"unique_key":"k"}'`))).toBe(first);
      expect(await a.drain(line, 1)).toEqual(['one']);
      expect(await a.nothing(line)).toBe(true);
      await store.pass(2_000);
      expect(await a.drain(line, 1)).toEqual(['later']);
      await waitFor(async () => (await sql('SELECT count(*) FROM trine.jobs')) === '0');
    });

    it('forms the groups of a fifo queue', async () => {
      const line = await a.queue({
        serial: true,
        defaults: { maxAttempts: 3, backoffMs: 1, groupField: 'to', maxPriority: 255 },
      });
      await sql(enqueue(`'q'`, `'f'`, `'{"to":"x","n":1}'`));
      await sql(enqueue(`'q'`, `'f'`, `'{"n":2}'`, `'{"group":"x"}'`));
      const lease = await a.lease(line);
      expect(lease.job).toMatchObject({ data: '{"to":"x","n":1}', group: '"x"' });
      expect(await a.nothing(line)).toBe(true);
      await a.broker.settle(lease, { kind: 'done' });
      expect(await a.drain(line, 1)).toEqual([{ n: 2 }]);
    });

    it.each([
      [`'absent', 'f', '1'`, "Queue 'absent' not found"],
      [`'q', '', '1'`, 'function_id is required'],
      [`'q', 'f', '1', '{"dellay_ms":1}'`, "unknown option 'dellay_ms'"],
      [`'q', 'f', '1', '{"group":"g"}'`, "Queue 'q' has no groups"],
      [`'q', 'f', '1', '{"priority":256}'`, 'priority is a whole number from 0 to 255'],
      [`'fifo', 'f', '{"a":1}'`, "FIFO queue 'fifo' requires field 'to'"],
      [`'fifo', 'f', '{"to":1}', '{"priority":1}'`, "FIFO queue 'fifo' refuses priority"],
    ])('refuses %s and says why', async (words, message) => {
      await a.queue();
      await a.queue(
        { serial: true, defaults: { maxAttempts: 3, backoffMs: 1, groupField: 'to', maxPriority: 255 } },
        'fifo',
      );
      await expect(sql(enqueue(words))).rejects.toThrow(message);
    });

    it('works for a role that may use the schema and nothing else', async () => {
      const line = await a.queue();
      await sql('CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA "trine" TO app'.replace('"trine"', store.schema));
      await sql(`SET ROLE app; ${enqueue(`'q'`, `'f'`, `'1'`)}`);
      await expect(sql('SET ROLE app; SELECT * FROM trine.jobs')).rejects.toThrow('permission denied');
      expect(await a.drain(line, 1)).toEqual([1]);
      await sql('DROP OWNED BY app; DROP ROLE app');
    });
  });

  it('drops what is over the bytes of a backlog in a few steps, and not more than that', async () => {
    const line = await a.subscription('f', { maxBacklogBytes: 10_000 });
    await sql(`CREATE TABLE trine.steps (at bigint);
      CREATE FUNCTION trine.step() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO trine.steps VALUES (0); RETURN NULL; END';
      GRANT INSERT ON trine.steps TO PUBLIC;
      CREATE TRIGGER step AFTER UPDATE OF expired ON trine.lines FOR EACH ROW EXECUTE FUNCTION trine.step()`);
    a.broker.consume(line, 0);
    const text = 'x'.repeat(98); // 100 with its quotes
    await Promise.all(Array.from({ length: 900 }, () => a.broker.publish(a.message(text))));
    await waitFor(async () => (await a.broker.stats([line])).bytes <= 10_000);
    expect(await a.broker.stats([line])).toMatchObject({ bytes: 10_000, waiting: 100 });
    const steps = Number(await sql('SELECT count(*) FROM trine.steps'));
    expect(steps).toBeGreaterThan(0);
    expect(steps).toBeLessThan(60);
  });

  it('syncs what it acknowledges on a connection that was told not to, as one of a pooler may be', async () => {
    const answer = await sql(
      `SET synchronous_commit = off; BEGIN; SELECT trine.end_batch('w', 1, '[]'); SHOW synchronous_commit; COMMIT`,
    );
    expect(answer.trim().split('\n')).toContain('on');
  });

  it('takes no more than a queue may hold, and more when some have run', async () => {
    const line = await a.queue({ maxWaiting: 3 });
    const answers = await Promise.allSettled(Array.from({ length: 6 }, (_, i) => a.accept(line, i)));
    const stored = answers.filter(({ status }) => status === 'fulfilled').length;
    // Two engines share what is left.
    expect(stored).toBeGreaterThan(0);
    expect(stored).toBeLessThanOrEqual(3);
    while ((await a.broker.stats([line])).waiting < 3) await a.accept(line, 'more');
    await expect(a.accept(line, 'too many')).rejects.toMatchObject({ code: 'queue_full' });
    await a.drain(line, 2);
    await a.accept(line, 'again');
  });

  it('counts a backlog that is nearly full by its own jobs, not by those of all', async () => {
    const line = await a.subscription('f', { maxBacklog: 10 });
    a.broker.consume(line, 0);
    for (let i = 0; i < 12; i++) await a.broker.publish(a.message(i));
    await waitFor(() => a.expired.get('f') === 2);
    // What a connection has counted is known at the latest when it ends.
    await a.stop();
    await b.stop();
    const connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trine'";
    await waitFor(async () => (await sql(connections)) === '0');
    // Each index was built by a scan of the table.
    const scans = `SELECT seq_scan - (SELECT count(*) FROM pg_indexes i WHERE i.schemaname = t.schemaname AND i.tablename = t.relname)
      FROM pg_stat_user_tables t WHERE schemaname = '${store.schema}' AND relname = 'jobs'`;
    expect(await sql(scans)).toBe('0');
  });

  it('drops a message with its last delivery', async () => {
    const [f, g] = [await a.subscription('f'), await a.subscription('g')];
    await a.broker.publish(a.message(1));
    expect(await a.drain(f, 1)).toEqual([1]);
    expect(await sql('SELECT count(*) FROM trine.messages')).toBe('1');
    expect(await a.drain(g, 1)).toEqual([1]);
    await waitFor(async () => (await sql('SELECT count(*) FROM trine.messages')) === '0');
  });

  it('reaches the keys behind hundreds whose rate is used up', async () => {
    const line = await a.queue({ ratePerKey: { max: 1, perMs: 60_000 } }, 'q', 1_000);
    const keys = Array.from({ length: 600 }, (_, i) => `key ${String(i).padStart(3, '0')}`);
    const jobs = keys.flatMap((rateKey) => [1, 2].map((n) => ({ line, job: a.job(n, { extras: { rateKey } }) })));
    await a.broker.acceptMany?.(jobs);
    expect(new Set(await a.drain(line, 600))).toEqual(new Set([1]));
    expect(await a.nothing(line)).toBe(true);
    await a.accept(line, 'last', { extras: { rateKey: 'zzz' } });
    expect(await a.drain(line, 1)).toEqual(['last']);
  });

  it('takes functions in turn, so that a flood of one does not hold up another', async () => {
    const line = await a.queue({}, 'q', 4);
    await a.broker.acceptMany?.(Array.from({ length: 20 }, (_, i) => ({ line, job: a.job(i) })));
    await a.accept(line, 'other', { functionId: 'g' });
    expect(await a.drain(line, 4)).toContain('other');
  });

  it('fails one bad enqueue alone', async () => {
    const line = await a.queue();
    const bad = a.broker.accept(line, a.job(1, { receipt: 'nul\u0000' }));
    const good = Promise.all([2, 3].map((n) => a.accept(line, n)));
    await expect(bad).rejects.toThrow();
    await good;
    expect(await a.drain(line, 2)).toEqual([2, 3]);
  });

  it('keeps an error text that PostgreSQL would not store', async () => {
    const line = await a.queue();
    await a.accept(line, 1);
    const error = 'a NUL \u0000 and half a pair \ud800';
    await a.broker.settle(await a.lease(line), {
      kind: 'dead',
      error,
      code: 'invocation_failed',
      attempts: 1,
      lost: 0,
      failures: [{ at: 1, error }],
    });
    const { letters } = await a.broker.browseDead([line], { offset: 0, limit: 1, maxBytes: 1_000 });
    expect(letters[0]?.error).toBe('a NUL \ufffd and half a pair \ufffd');
    expect(letters[0]?.failures).toContain('half a pair');
  });

  it('finds the one job that can run behind a hundred thousand that cannot', async () => {
    const line = await a.queue();
    const ordered = await a.queue({ serial: true }, 'ordered');
    await sql(`INSERT INTO trine.jobs (line, lane, state, size, created_at, max_attempts, backoff_ms, receipt, function_id, namespace, data)
      SELECT 1, trine.lane_of(false, 'default', 'absent', NULL, NULL), 0, 1, 1, 1, 1, 'r' || n, 'absent', 'default', '1' FROM generate_series(1, 100000) n`);
    await sql(`INSERT INTO trine.jobs (line, lane, state, size, created_at, max_attempts, backoff_ms, receipt, function_id, namespace, group_key, data)
      SELECT 2, trine.lane_of(true, 'default', 'absent', 'g' || n % 3, NULL), 0, 1, 1, 1, 1, 's' || n, 'absent', 'default', 'g' || n % 3, '1'
      FROM generate_series(1, 100000) n`);
    await a.accept(line, 'found');
    await a.accept(ordered, 'found too', { group: 'h' });
    const asked = performance.now();
    expect(await a.drain(line, 1)).toEqual(['found']);
    expect(await a.drain(ordered, 1)).toEqual(['found too']);
    // A scan of either would take longer, and grow with what waits.
    const plans =
      await sql(`SET enable_seqscan = off; EXPLAIN SELECT seq FROM trine.jobs j WHERE j.line = 1 AND j.state = 0 AND j.lane = 'x'
      ORDER BY j.priority DESC, j.seq LIMIT 10 FOR UPDATE SKIP LOCKED`);
    expect(plans).toContain('jobs_ready');
    expect(plans).not.toContain('Sort');
    const oldest =
      await sql(`SET enable_seqscan = off; EXPLAIN SELECT seq FROM trine.jobs WHERE line = 1 AND message IS NOT NULL
      AND state < 2 ORDER BY seq LIMIT 10 FOR UPDATE SKIP LOCKED`);
    expect(oldest).toContain('jobs_backlog');
    expect(oldest).not.toContain('Sort');
    expect(performance.now() - asked).toBeLessThan(5_000);
  });
});
