/** What is measured: each row is a load program, a floor and the engine's configuration. */
import type { FloorKind } from './floor-process.js';
import { connectEchoWorker } from './load/echo-worker.js';
import { CallLoad, type CallPlan } from './load/calls.js';
import { JOB, JobLoad } from './load/jobs.js';
import { FAN_OUT_IN_FLIGHT, FAN_OUT_SOCKETS, SUBSCRIBERS, type StartLoad } from './load/load.js';
import { untilCallable } from './load/probe.js';
import { PublishLoad, type PublishPlan } from './load/publishes.js';
import { RedirectLoad } from './load/redirects.js';
import { VoidLoad } from './load/void-calls.js';
import { randomPayload, randomRecords } from './random.js';
import { PAYLOAD_BYTES } from './wire.js';

/** What is to be reached; left out = reported only. */
export interface Targets {
  /** Share of the plain floor's rate: where the reference's best version stands beside such a floor. */
  readonly plain?: number;
  /** Share of the corked floor's rate. */
  readonly corked?: number;
  /** Most CPU per operation, as a multiple of the corked floor's. */
  readonly cpu?: number;
  /** Operations per second, whatever the floor. */
  readonly rate?: number;
  /** Longest median time of one operation, as a multiple of the corked floor's: rows with one operation in flight. */
  readonly latency?: number;
}

export interface Row {
  readonly name: string;
  readonly title: string;
  readonly unit: 'calls' | 'deliveries' | 'jobs' | 'requests';
  readonly floor: FloorKind;
  /** What the floor does, for the table. */
  readonly floorTitle: string;
  readonly targets: Targets;
  /** Built-ins beside the worker socket. */
  readonly workers: readonly { readonly name: string; readonly config?: unknown }[];
  readonly load: StartLoad;
}

const ECHO = 'bench::echo';

/** Keys that `state::set` and `state::get` go over. */
const STATE_KEYS = 1_000;
const STATE_SCOPE = 'bench';

const STATE_WORKER = {
  name: 'iii-state',
  config: { adapter: { name: 'kv', config: { store_method: 'file_based', file_path: './data/state_store.db' } } },
};
const QUEUE_WORKER = { name: 'iii-queue', config: { queue_configs: { bench: { type: 'standard', concurrency: 10 } } } };

/** Payload of the large-payload row, in bytes. */
const LARGE_BYTES = 100 * 1024;
/** Calls in flight in the large-payload row: 3 MiB under way. */
const LARGE_IN_FLIGHT = 32;

export const ROWS: readonly Row[] = [
  {
    name: 'routed-one',
    title: 'Routed call, one at a time',
    unit: 'calls',
    floor: 'forwarder',
    floorTitle: 'forwarder',
    targets: { latency: 1.25 },
    workers: [],
    async load({ target, random }) {
      const payload = randomPayload(random, PAYLOAD_BYTES);
      const worker = await connectEchoWorker(target.url, [ECHO], payload);
      await untilCallable(target.url, ECHO, payload);
      return CallLoad.open(target.url, { functionId: ECHO, data: () => payload, inFlight: 1 }, [worker]);
    },
  },
  {
    name: 'routed',
    title: 'Routed call, answered',
    unit: 'calls',
    floor: 'forwarder',
    floorTitle: 'forwarder',
    targets: { plain: 0.64, corked: 0.75, cpu: 1.6 },
    workers: [],
    async load({ target, random }) {
      const payload = randomPayload(random, PAYLOAD_BYTES);
      const worker = await connectEchoWorker(target.url, [ECHO], payload);
      await untilCallable(target.url, ECHO, payload);
      return CallLoad.open(target.url, { functionId: ECHO, data: () => payload }, [worker]);
    },
  },
  {
    name: 'large',
    title: 'Routed call, 100 KB of records there and back',
    unit: 'calls',
    floor: 'parsing-forwarder',
    floorTitle: 'forwarder that parses and prints',
    targets: { corked: 5 },
    workers: [],
    async load({ target, random }) {
      const payload = randomRecords(random, LARGE_BYTES);
      const worker = await connectEchoWorker(target.url, [ECHO], payload);
      await untilCallable(target.url, ECHO, payload);
      return CallLoad.open(target.url, { functionId: ECHO, data: () => payload, inFlight: LARGE_IN_FLIGHT }, [worker]);
    },
  },
  {
    name: 'void',
    title: 'Void call, delivered',
    unit: 'calls',
    floor: 'forwarder',
    floorTitle: 'forwarder, no answers',
    targets: { plain: 0.41 },
    workers: [],
    async load({ target, random }) {
      const payload = randomPayload(random, PAYLOAD_BYTES);
      const load = await VoidLoad.open(target.url, ECHO, payload, (onCall) =>
        connectEchoWorker(target.url, [ECHO], payload, onCall),
      );
      await untilCallable(target.url, ECHO, payload);
      load.reset();
      return load;
    },
  },
  {
    name: 'enqueue',
    title: 'Enqueue, committed to disk',
    unit: 'calls',
    floor: 'answerer',
    floorTitle: 'bare answer',
    targets: { plain: 0.38 },
    workers: [QUEUE_WORKER],
    // Nobody serves the function: jobs wait, so the row is about accepting them and nothing else.
    load({ target, random }) {
      return CallLoad.open(target.url, enqueues(randomPayload(random, PAYLOAD_BYTES)));
    },
  },
  {
    name: 'enqueue-group',
    title: 'The same beside a group commit',
    unit: 'calls',
    floor: 'committer',
    floorTitle: 'bare group commit, synced',
    targets: { corked: 0.7 },
    workers: [QUEUE_WORKER],
    load: ({ target, random }) => CallLoad.open(target.url, enqueues(randomPayload(random, PAYLOAD_BYTES))),
  },
  {
    name: 'enqueue-one',
    title: 'Enqueue, committed to disk, one at a time',
    unit: 'calls',
    floor: 'committer',
    floorTitle: 'bare commit, synced',
    targets: { latency: 1.5 },
    workers: [QUEUE_WORKER],
    load: ({ target, random }) =>
      CallLoad.open(target.url, { ...enqueues(randomPayload(random, PAYLOAD_BYTES)), inFlight: 1 }),
  },
  {
    name: 'jobs',
    title: 'Job, enqueued, committed, run and ended',
    unit: 'jobs',
    floor: 'job-forwarder',
    floorTitle: 'one answer and one forwarded call, no disk',
    targets: { rate: 15_000 },
    workers: [{ name: 'iii-queue', config: { queue_configs: { bench: { type: 'standard', concurrency: 256 } } } }],
    load: ({ target, random }) => JobLoad.open(target.url, randomPayload(random, PAYLOAD_BYTES)),
  },
  {
    name: 'state-set',
    title: 'State set, committed to disk',
    unit: 'calls',
    floor: 'answerer',
    floorTitle: 'bare answer',
    targets: { plain: 0.58 },
    workers: [STATE_WORKER],
    load({ target, random }) {
      return CallLoad.open(target.url, {
        functionId: 'state::set',
        data: stateData(randomPayload(random, PAYLOAD_BYTES)),
      });
    },
  },
  {
    name: 'state-get',
    title: 'State get',
    unit: 'calls',
    floor: 'answerer',
    floorTitle: 'bare answer',
    targets: { plain: 0.88 },
    workers: [STATE_WORKER],
    async load({ target, random }) {
      const value = randomPayload(random, PAYLOAD_BYTES);
      const seeding = await CallLoad.open(target.url, { functionId: 'state::set', data: stateData(value) });
      await seeding.prepare(STATE_KEYS);
      await seeding.close();
      return CallLoad.open(target.url, { functionId: 'state::get', data: stateData(undefined) });
    },
  },
  {
    name: 'publish',
    title: `Publish to ${SUBSCRIBERS} subscribers`,
    unit: 'deliveries',
    floor: 'broadcaster',
    floorTitle: 'one frame per subscriber',
    targets: { plain: 0.2 },
    workers: [{ name: 'iii-pubsub' }],
    load({ target, random }) {
      const message = randomPayload(random, PAYLOAD_BYTES);
      return PublishLoad.open(target.url, { functionId: 'publish', triggerType: 'subscribe', message });
    },
  },
  {
    name: 'fan-out',
    title: `Publish to ${FAN_OUT_SOCKETS.toLocaleString('en-US')} sockets`,
    unit: 'deliveries',
    floor: 'broadcaster',
    floorTitle: 'one frame per socket',
    targets: { corked: 0.7 },
    workers: [{ name: 'iii-pubsub' }],
    load: ({ target, random }) => PublishLoad.open(target.url, fanOut(randomPayload(random, PAYLOAD_BYTES))),
  },
  {
    name: 'fan-out-answered',
    title: 'The same beside a floor whose subscribers answer, as ours do',
    unit: 'deliveries',
    floor: 'acknowledged-broadcaster',
    floorTitle: 'one answered call per socket',
    targets: {},
    workers: [{ name: 'iii-pubsub' }],
    load: ({ target, random }) => PublishLoad.open(target.url, fanOut(randomPayload(random, PAYLOAD_BYTES))),
  },
  {
    name: 'durable',
    title: `Durable topic, ${SUBSCRIBERS} subscribers`,
    unit: 'deliveries',
    floor: 'acknowledged-broadcaster',
    floorTitle: 'one answered call per subscriber, no disk',
    targets: {},
    workers: [{ name: 'iii-queue' }],
    load({ target, random }) {
      const message = randomPayload(random, PAYLOAD_BYTES);
      return PublishLoad.open(target.url, {
        functionId: 'iii::durable::publish',
        triggerType: 'durable:subscriber',
        message,
      });
    },
  },
  {
    name: 'http',
    title: 'HTTP redirect through a function',
    unit: 'requests',
    floor: 'http-forwarder',
    floorTitle: 'fastify and one forwarded socket hop',
    targets: { corked: 0.75 },
    workers: [{ name: 'iii-http', config: { host: '127.0.0.1', port: 0 } }],
    load({ target }) {
      if (target.httpUrl === undefined) throw new Error('the target reports no HTTP port');
      return RedirectLoad.open(target.url, target.httpUrl);
    },
  },
];

function enqueues(payload: string): CallPlan {
  return { functionId: JOB, data: () => payload, action: '{"type":"enqueue","queue":"bench"}' };
}

function fanOut(message: string): PublishPlan {
  return {
    functionId: 'publish',
    triggerType: 'subscribe',
    message,
    subscribers: FAN_OUT_SOCKETS,
    ownSockets: true,
    inFlight: FAN_OUT_IN_FLIGHT,
  };
}

function stateData(value: string | undefined): (sequence: number) => string {
  const tail = value === undefined ? '}' : `,"value":${value}}`;
  const texts = Array.from({ length: STATE_KEYS }, (_, i) => `{"scope":"${STATE_SCOPE}","key":"key-${i}"${tail}`);
  return (sequence) => texts[sequence % STATE_KEYS] ?? '';
}
