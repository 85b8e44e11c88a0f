/** The queue on a real RabbitMQ that engines share. */
import { RabbitServer } from '@trine/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { pause } from '../faults/kill/timeline.js';
import type { Invariant } from '../faults/audit/index.js';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { onRabbit } from './adapters.js';
import { Beds } from './beds.js';
import { losesNothingToEngineKills, losesNothingToServerKills, SDKS, servesSdk } from './scenarios.js';
import { SharedLoad } from './shared-load.js';

/** Deliveries that may be one too many, over the kills of engines. */
const MAX_TWICE = 40;
/** RabbitMQ 3.10 writes down every few seconds which queues it has: a younger one does not survive its death. In milliseconds. */
const YOUNG_QUEUE_MS = 8_000;
/** A little more than the adapter waits for a confirm, in milliseconds. */
const LONGEST_ANSWER_MS = 15_000;
const { missing } = RabbitServer;
const title = `the queue on RabbitMQ${missing === undefined ? '' : `: skipped, ${missing}`}`;

let server: RabbitServer;
const beds = new Beds();

describe.skipIf(missing !== undefined)(title, () => {
  beforeAll(async () => {
    server = await RabbitServer.start();
    await server.addVhosts([...SDKS.map(([version]) => version), 'engines', 'server']);
  }, 90_000);
  afterEach(() => beds.stop());
  afterAll(() => server.stop());

  it.each(SDKS)(
    'serves the unmodified iii-sdk %s: enqueue, retry, dead letter, redrive, durable topic',
    (version, sdk) => servesSdk(beds, onRabbit(server, version), version, sdk),
  );

  it('is shared by two engines: either is killed, nothing is lost, and the order of groups holds across both', async () => {
    // An engine that dies between the copy of a job (its next attempt) and the acknowledgement leaves both: it runs
    // once more, maybe at once. Losses and a wrong order are never allowed.
    const load = await start('engines', ['I2', 'I3', 'I4']);
    await losesNothingToEngineKills(load, 100);
    expect(load.auditor.tolerated).toBeLessThan(MAX_TWICE);
  });

  it('loses nothing when the server is killed and started again under load, and answers meanwhile', async () => {
    // What ran when the server went may run once more on the other engine, with the attempts that the server knew, and
    // what it had not stored as acknowledged once more after its successor.
    const load = await start('server', ['I2', 'I3', 'I4', 'I5']);
    await pause(YOUNG_QUEUE_MS);
    await losesNothingToServerKills(load, server, { kills: 2, jobs: 100 });
    expect(load.slowest).toBeLessThan(LONGEST_ANSWER_MS);
  });
});

/** Two engines on one virtual host. */
async function start(vhost: string, allowed: readonly Invariant[]): Promise<SharedLoad> {
  const random = new SeededRandom(testSeed(`rabbitmq: ${vhost} killed`));
  const load = await SharedLoad.start({ random, adapter: onRabbit(server, vhost), engines: 2, allowed });
  return beds.keep(load);
}
