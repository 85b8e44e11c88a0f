import { RabbitServer, waitFor } from '@trine/testing';
import * as sdk11 from 'iii-sdk-0.11';
import * as sdk22 from 'iii-sdk-0.22';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pause } from '../faults/kill/timeline.js';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { Member, SharedLoad } from './rabbitmq-load.js';

const ENGINE_KILLS = 4;
const SERVER_KILLS = 2;
/** Deliveries that may be one too many, over all kills of engines. */
const MAX_TWICE = 10 * ENGINE_KILLS;
/** RabbitMQ 3.10 writes down every few seconds which queues it has: a younger one does not survive its death. In milliseconds. */
const YOUNG_QUEUE_MS = 8_000;
/** A little more than the adapter waits for a confirm, in milliseconds. */
const LONGEST_ANSWER_MS = 15_000;

describe.skipIf(RabbitServer.missing !== undefined)(
  `brokers - rabbitmq${RabbitServer.missing === undefined ? '' : `: ${RabbitServer.missing}`}`,
  () => {
    let server: RabbitServer;
    beforeAll(async () => {
      server = await RabbitServer.start();
      await server.addVhosts(['sdk', 'engines', 'server']);
    }, 90_000);
    afterAll(() => server.stop());

    it('serves official clients: enqueue, retry, dead letter, durable topic', async () => {
      const member = await Member.make('sdk', server.url('sdk'));
      await member.start();
      const clients = [sdk11, sdk22].map((sdk, i) =>
        sdk.registerWorker(`ws://127.0.0.1:${member.port}`, { workerName: `sdk-${i}` }),
      ) as ReturnType<typeof sdk22.registerWorker>[];
      try {
        for (const [i, client] of clients.entries()) {
          const [jobs, messages, failed]: unknown[][] = [[], [], []];
          client.registerFunction(`sdk${i}::job`, async (data: { readonly fail?: boolean }) => {
            if (data.fail === true) {
              failed?.push(data);
              throw new Error('not today');
            }
            jobs?.push(data);
            return null;
          });
          client.registerFunction(`sdk${i}::message`, async (data: unknown) => void messages?.push(data));
          client.registerTrigger({
            type: 'durable:subscriber',
            function_id: `sdk${i}::message`,
            config: { topic: `sdk${i}` },
          });
          const enqueue = (payload: object): Promise<{ messageReceiptId: string }> =>
            client.trigger({
              function_id: `sdk${i}::job`,
              payload,
              action: sdk22.TriggerAction.Enqueue({ queue: 'shared-jobs' }),
            });
          expect((await enqueue({ n: 1.5 })).messageReceiptId).toMatch(/^[0-9a-f-]{36}$/);
          await waitFor(() => jobs?.length === 1);
          expect(jobs).toEqual([{ n: 1.5 }]);
          await waitFor(() =>
            client
              .trigger({ function_id: 'iii::durable::publish', payload: { topic: `sdk${i}`, data: { hello: i } } })
              .then(() => true),
          );
          await waitFor(() => messages?.length === 1);
          expect(messages).toEqual([{ hello: i }]);
          const { messageReceiptId } = await enqueue({ fail: true });
          const dead = await waitFor(async () => {
            const page = await client.trigger<
              unknown,
              { message_receipt_id: string; error: string; retries: number }[]
            >({
              function_id: 'engine::queue::dlq_messages',
              payload: { topic: 'shared-jobs' },
            });
            return page.find(({ message_receipt_id }) => message_receipt_id === messageReceiptId);
          });
          expect(dead).toMatchObject({ retries: 3, error: expect.stringContaining('not today') as string });
          expect(failed).toHaveLength(3);
        }
      } finally {
        await Promise.all(clients.map((client) => client.shutdown()));
        await member.stop();
      }
    });

    it(`loses nothing and keeps the order of every group when either of two engines is killed, ${ENGINE_KILLS} times`, async () => {
      // An engine that dies between the copy of a job (its next attempt) and the acknowledgement leaves both: it runs
      // once more, maybe at once. Losses and a wrong order are never allowed.
      const random = new SeededRandom(testSeed('rabbitmq engine kills'));
      const load = await SharedLoad.start(server.url('engines'), random, ['I2', 'I3', 'I4']);
      try {
        for (let kill = 0; kill < ENGINE_KILLS; kill++) {
          await load.moreDone(100);
          const member = load.members[kill % 2] as Member;
          await load.kill(member);
          await load.moreDone(100); // the other one goes on alone, with the groups of both
          await member.start();
        }
        await load.moreDone(100);
        await load.finish();
        expect(load.auditor.faults).toEqual([]);
        expect(load.auditor.again).toBeLessThan(MAX_TWICE);
        expect(load.standard.redelivered + load.ordered.redelivered).toBeGreaterThan(0);
        expect(load.standard.failures).toBeGreaterThan(0);
        expect([...load.refused]).toEqual([]);
      } finally {
        await load.stop();
      }
    });

    it(`loses nothing when the server is killed under load, ${SERVER_KILLS} times, and answers meanwhile`, async () => {
      // What ran when the server went may run once more on the other engine, with the attempts that the server knew, and
      // what it had not stored as acknowledged once more after its successor.
      const random = new SeededRandom(testSeed('rabbitmq server kills'));
      const load = await SharedLoad.start(server.url('server'), random, ['I2', 'I3', 'I4', 'I5']);
      const { producer } = load.members[0] as Member;
      try {
        await pause(YOUNG_QUEUE_MS);
        for (let kill = 0; kill < SERVER_KILLS; kill++) {
          await load.moreDone(100);
          await server.kill();
          await waitFor(() => (load.members[0] as Member).queueHealth().then((state) => state === 'unreachable'));
          expect(
            await producer.ask('shared::job', { id: 'x' }, { type: 'enqueue', queue: 'shared-jobs' }),
          ).toMatchObject({
            kind: 'error',
            code: 'enqueue_error',
          });
          await server.restart();
          await waitFor(
            async () =>
              (await Promise.all(load.members.map((member) => member.queueHealth()))).every((s) => s === 'ready'),
            { timeoutMs: 30_000, what: 'both engines to be connected again' },
          );
        }
        await load.moreDone(100);
        await load.finish();
        expect(load.auditor.faults).toEqual([]);
        expect([...load.refused.keys()]).toEqual(['enqueue_error']);
        expect(load.slowest).toBeLessThan(LONGEST_ANSWER_MS);
      } finally {
        await load.stop();
      }
    });
  },
);
