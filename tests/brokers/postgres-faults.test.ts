/** The queue on a real PostgreSQL that is cut, held, killed, read-only, full and locked. */
import { CuttingProxy, postgresMissing, PostgresServer, waitFor } from '@trine/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { onPostgres } from './adapters.js';
import { Beds } from './beds.js';
import type { BrokerBed } from './broker-bed.js';
import { gate, refuses } from './probes.js';
import { answersWhileCut, givesUpWhileHeld, losesNothingToServerKills, startsWithWrongPassword } from './scenarios.js';
import { SharedLoad } from './shared-load.js';
import { SmallDisk } from './small-disk.js';

const missing = postgresMissing();
const title = `faults of PostgreSQL${missing === undefined ? '' : `: skipped, ${missing}`}`;
let server: PostgresServer;
const beds = new Beds();

function bed(config: object = {}): Promise<BrokerBed> {
  return beds.queue(onPostgres(server, config));
}

describe.skipIf(missing !== undefined)(title, () => {
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterEach(async () => {
    // What a failed test left behind.
    for (const name of ['default_transaction_read_only', 'fsync']) await server.sql(`ALTER SYSTEM RESET ${name}`);
    await server.sql('SELECT pg_reload_conf()');
    await server.sql(`ALTER ROLE trine CONNECTION LIMIT -1 PASSWORD '${PostgresServer.password}'`);
    await beds.stop();
  });
  afterAll(() => server.stop());

  it('loses nothing when the server is killed and started again under load', async () => {
    const random = new SeededRandom(testSeed('PostgreSQL killed'));
    // In the schema that it takes by itself.
    const adapter = { name: 'postgres', config: { database_url: server.url() } } as const;
    const load = beds.keep(await SharedLoad.start({ random, adapter, engines: 1 }));
    await losesNothingToServerKills(load, server, { kills: 3, jobs: 40 });
  });

  it('answers at once while the connection is cut, says so in its health, and goes on', () =>
    answersWhileCut(
      beds,
      server.port,
      (port) => onPostgres(server, { database_url: server.url(port) }),
      (port) => ({ health: `PostgreSQL at trine@127.0.0.1:${port}/jobs`, refusal: 'PostgreSQL at trine@' }),
    ));

  it('stores an enqueue once whose answer was lost', async () => {
    const proxy = beds.keep(await CuttingProxy.start(server.port));
    const own = await bed({ database_url: server.url(proxy.port), schema: 'unknown_outcome' });
    await own.enqueue('warm');
    // The commit waits for a lock until after the connection is gone: the engine cannot know that it succeeds.
    const locked = server.sql(
      'BEGIN; LOCK TABLE unknown_outcome.jobs IN SHARE MODE; SELECT pg_sleep(1.5); COMMIT',
      'jobs',
    );
    await waitFor(
      async () =>
        (await server.sql(
          "SELECT count(*) FROM pg_locks WHERE mode = 'ShareLock' AND granted AND relation IS NOT NULL",
          'jobs',
        )) !== '0',
    );
    const receipt = own.enqueue('once');
    const waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'trine'";
    await waitFor(async () => (await server.sql(waits, 'jobs')) === '1');
    proxy.cut({ side: 'client', holdMs: 5_000 });
    await locked;
    await receipt;
    expect(
      await server.sql(`SELECT count(*) FROM unknown_outcome.jobs WHERE receipt = '${await receipt}'`, 'jobs'),
    ).toBe('1');
    expect(await server.sql('SELECT count(*) FROM unknown_outcome.jobs', 'jobs')).toBe('2');
  });

  it('gives up an enqueue within seconds when the server answers nothing', async () => {
    const held = { hold: () => server.hold(), goOn: () => server.release() };
    await givesUpWhileHeld(await bed(), held, { refusal: 'PostgreSQL at trine@', withinMs: 16_000 });
  });

  it('starts while the password is refused, says what to do, and comes up when it is right', async () => {
    const password = 's3cret-word';
    await startsWithWrongPassword(
      await bed({ database_url: server.url(server.port, password) }),
      password,
      () => server.sql(`ALTER ROLE ${PostgresServer.user} PASSWORD '${password}'`),
      { health: 'the password is wrong: correct database_url', refusal: 'the password is wrong' },
    );
  });

  it('refuses jobs while the server is read-only, keeps the ends of those that run, and recovers', async () => {
    const engine = await bed();
    const { promise: held, open: release } = gate();
    const seen = engine.seenBy('test::job', () => held);
    await engine.enqueue(1);
    await waitFor(() => seen.length === 1);
    await server.sql('ALTER SYSTEM SET default_transaction_read_only = on');
    await server.sql('SELECT pg_reload_conf()');
    await waitFor(async () => {
      const answer = await engine.enqueue(2).catch((error: unknown) => error as { code: string; message: string });
      return typeof answer === 'object' && answer.code === 'enqueue_error' && answer.message.includes('read-only');
    });
    release();
    expect((await engine.health()).details).toMatchObject({ state: 'degraded' });
    expect((await engine.stats()).running).toBeGreaterThan(0);
    await server.sql('ALTER SYSTEM RESET default_transaction_read_only');
    await server.sql('SELECT pg_reload_conf()');
    await waitFor(async () => (await engine.stats()).running === 0);
    await waitFor(async () => (await engine.state()) === 'ready');
    await engine.enqueue(3);
    await waitFor(() => seen.includes(3));
  });

  it('refuses jobs for lack of rights, and says which', async () => {
    const schema = 'rights';
    const engine = await bed({ schema });
    await engine.enqueue(1);
    await server.sql(`REVOKE INSERT ON ${schema}.jobs FROM trine`, 'jobs');
    await refuses(engine, 2, 'the role lacks rights');
    await server.sql(`GRANT INSERT ON ${schema}.jobs TO trine`, 'jobs');
    await engine.enqueue(3);
  });

  it('waits for a connection when the server has none left', async () => {
    await server.sql(`ALTER ROLE ${PostgresServer.user} CONNECTION LIMIT 3`);
    const first = await bed({ max_connections: 10 });
    // It works with those that it gets, and some enqueues may be refused.
    const stored = await Promise.allSettled(Array.from({ length: 50 }, (_, i) => first.enqueue(i)));
    const count = stored.filter(({ status }) => status === 'fulfilled').length;
    const others = await Promise.all([bed(), bed(), bed()]);
    await waitFor(async () => {
      const details = await Promise.all(others.map(async (each) => (await each.health()).details));
      return details.some(({ detail }) => detail?.includes('no connection left') === true);
    });
    await server.sql(`ALTER ROLE ${PostgresServer.user} CONNECTION LIMIT -1`);
    for (const each of [first, ...others]) {
      await waitFor(async () => (await each.state()) === 'ready');
      await each.enqueue('more');
    }
    expect((await first.stats()).depth).toBe(count + 1);
  });

  it('says what a server with other settings may lose', async () => {
    await server.sql('ALTER SYSTEM SET fsync = off');
    await server.sql('SELECT pg_reload_conf()');
    await waitFor(async () => (await server.sql('SHOW fsync')) === 'off');
    const engine = await bed();
    const { status, details } = await engine.health();
    expect(status).toBe('healthy');
    expect(details.durability).toBe('relaxed');
    expect(details.detail).toContain('fsync is off');
  });

  it('refuses jobs while the disk is full, works off what is there, and recovers', async ({ skip }) => {
    const disk = await SmallDisk.mount(16).catch(() => undefined);
    if (disk === undefined) return skip('a small disk needs the right to mount one');
    beds.keep({ stop: () => disk.unmount() });
    const schema = 'full_disk';
    beds.keep({
      stop: async () => {
        await server.sql(`DROP SCHEMA ${schema} CASCADE`, 'jobs');
        await server.sql('DROP TABLESPACE small');
      },
    });
    const engine = await bed({ schema });
    await server.own(disk.path);
    await server.sql(`CREATE TABLESPACE small LOCATION '${disk.path}'`);
    await server.sql(`ALTER TABLE ${schema}.jobs SET TABLESPACE small`, 'jobs');
    const random = new SeededRandom(testSeed('a full disk'));
    const payload = Array.from({ length: 60_000 }, () => random.between(0, 1e9).toString(36)).join('');
    let stored = 0;
    for (; ; stored++) {
      const failure = await engine.enqueue({ payload }).then(
        () => undefined,
        (error: unknown) => error as { code: string; message: string },
      );
      if (failure === undefined) continue;
      expect(failure).toMatchObject({ code: 'enqueue_error' });
      expect(failure.message).toContain('its disk is full');
      break;
    }
    expect(stored).toBeGreaterThan(5);
    expect((await engine.health()).details).toMatchObject({ state: 'degraded' });
    await disk.resize(128);
    const seen = engine.seenBy();
    await engine.enqueue('more');
    await waitFor(() => seen.length === stored + 1);
    await waitFor(async () => (await engine.stats()).running === 0);
    expect(await engine.state()).toBe('ready');
  });
});
