/** Five SDKs of two languages on one engine: each of them does everything with each of the others. */
import { createEngine, type Engine } from '@trine/engine';
import { RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import * as sdk11 from 'iii-sdk-0.11';
import * as sdk22 from 'iii-sdk-0.22';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pythonWith } from '../support/python.js';
import { WorkerProcess } from '../support/worker-process.js';
import { startNodePeer, type Binding, type RelayRequest } from './fixtures/peer.js';

/** Virtual environments are made where none are yet, in milliseconds. */
const SETUP_TIMEOUT_MS = 170_000;
/** The longest wait of an SDK before it connects again stays below this here, in milliseconds. */
const COME_BACK_MS = 40_000;

const PYTHON_PEERS: Readonly<Record<string, string>> = {
  'py-0-11': 'iii-sdk==0.11.6',
  'py-0-18': 'iii-sdk>=0.18,<0.19',
  'py-0-22': 'iii-sdk==0.22.1',
};
const NODE_PEERS = { 'node-0-11': sdk11, 'node-0-22': sdk22 } as const;
const PEERS = [...Object.keys(NODE_PEERS), ...Object.keys(PYTHON_PEERS)];
/** Those whose SDK knows metadata of calls. */
const WITH_METADATA = ['node-0-22', 'py-0-22'];
const TRIGGERS_PER_PEER = 4;

interface Note {
  readonly kind: string;
  readonly data: unknown;
}
interface Relayed {
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

let folder: TempFolder;
let engine: Engine;
const processes: WorkerProcess[] = [];
const shutdowns: (() => Promise<void>)[] = [];

async function startEngine(port: number): Promise<void> {
  engine = await createEngine({
    cwd: folder.path,
    logLevel: 'silent',
    config: {
      workers: [
        { name: 'iii-worker-manager', config: { port } },
        { name: 'iii-http', config: { port: 0 } },
        { name: 'iii-queue' },
        { name: 'iii-pubsub' },
        { name: 'iii-state' },
      ],
    },
  });
  await engine.start();
}

function call<T = unknown>(functionId: string, payload: unknown = {}): Promise<T> {
  return engine.worker('test').trigger({ function_id: functionId, payload });
}

const relay = (peer: string, request: RelayRequest): Promise<Relayed> => call(`${peer}::relay`, request);

async function notes(peer: string, kind: string): Promise<unknown[]> {
  return (await call<Note[]>(`${peer}::notes`)).filter((note) => note.kind === kind).map(({ data }) => data);
}

/** All that the peers register is there. */
async function allPeers(timeoutMs: number): Promise<void> {
  const missing = async (): Promise<string[]> => {
    const { registered_triggers: rows } = await call<{
      registered_triggers: { function_id: string; status?: string }[];
    }>('engine::registered-triggers::list');
    return PEERS.filter((peer) => {
      const live = rows.filter(
        ({ function_id, status }) => function_id.startsWith(`${peer}::`) && status !== 'pending',
      );
      return live.length < TRIGGERS_PER_PEER;
    });
  };
  try {
    await waitFor(async () => (await missing()).length === 0, { timeoutMs, everyMs: 50 });
  } catch {
    const output = processes.map((each) => each.output).join('\n');
    throw new Error(`not there after ${timeoutMs} ms: ${(await missing()).join(', ')}\n${output}`);
  }
}

beforeAll(async () => {
  folder = await tempFolder('trine-peers-');
  await startEngine(0);
  for (const [name, sdk] of Object.entries(NODE_PEERS)) shutdowns.push(startNodePeer(sdk, name, engine.url));
  for (const [name, requirement] of Object.entries(PYTHON_PEERS)) {
    const python = await pythonWith([requirement]);
    const env = { III_URL: engine.url, PEER: name, OTEL_ENABLED: 'false' };
    processes.push(new WorkerProcess(python, [join(import.meta.dirname, 'fixtures', 'peer.py')], { env }));
  }
  await allPeers(60_000);
}, SETUP_TIMEOUT_MS);

afterAll(async () => {
  await Promise.all(processes.map((each) => each.kill()));
  await Promise.all(shutdowns.map((shutdown) => shutdown()));
  await engine?.stop();
  await folder?.remove();
});

describe.each(PEERS)('linkly - a worker on %s', (caller) => {
  it('calls the workers of every SDK and gets their results', async () => {
    const payload = { text: 'grüß 🎈', nested: { list: [1, 2.5, null, true] } };
    for (const peer of PEERS) {
      const { result } = await relay(caller, { function_id: `${peer}::echo`, payload });
      expect(result).toEqual({ from: peer, data: payload });
    }
  });

  it('gets the errors of every SDK by code and message', async () => {
    for (const peer of PEERS) {
      const { error } = await relay(caller, { function_id: `${peer}::fail`, payload: {} });
      expect(error?.code).toBe('invocation_failed');
      expect(error?.message).toContain(`no luck in ${peer}`);
    }
    const unknown = await relay(caller, { function_id: 'nobody::home', payload: {} });
    expect(unknown.error?.code).toBe('function_not_found');
    const queue = await relay(caller, { function_id: `${caller}::echo`, payload: {}, queue: 'no-such-queue' });
    expect(queue.error?.code).toBe('enqueue_error');
    expect(queue.error?.message).toContain('no-such-queue');
  });

  it('sends void calls and jobs to the workers of every SDK', async () => {
    for (const peer of PEERS) {
      const sent = await relay(caller, {
        function_id: `${peer}::on_job`,
        payload: { from: caller, how: 'void' },
        void: true,
      });
      expect(sent).toEqual({ result: null });
      const { result } = await relay(caller, {
        function_id: `${peer}::on_job`,
        payload: { from: caller, how: 'queued' },
        queue: 'default',
      });
      expect(result).toEqual({ messageReceiptId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string });
      const had = async (how: string): Promise<unknown[]> =>
        (await notes(peer, 'job')).filter((data) => {
          const job = data as { from: string; how: string };
          return job.from === caller && job.how === how;
        });
      await waitFor(async () => (await had('void')).length === 1, { what: `the void call at ${peer}` });
      await waitFor(async () => (await had('queued')).length === 1, { what: `the job at ${peer}` });
      // A queue delivers what was put on it and adds nothing.
      expect(await had('queued')).toEqual([{ from: caller, how: 'queued' }]);
    }
  });

  it('publishes to the subscribers of every SDK, of both kinds', async () => {
    await relay(caller, { function_id: 'publish', payload: { topic: 'news', data: { from: caller } } });
    await relay(caller, {
      function_id: 'iii::durable::publish',
      payload: { topic: 'ledger', data: { entry: caller } },
    });
    for (const peer of PEERS) {
      await waitFor(
        async () => (await notes(peer, 'news')).some((data) => (data as { from: string }).from === caller),
        { what: `the news at ${peer}` },
      );
      const entries = await waitFor(async () => {
        const found = (await notes(peer, 'ledger')).filter((data) => (data as { entry: string }).entry === caller);
        return found.length > 0 ? found : undefined;
      });
      expect(entries).toEqual([{ entry: caller }]);
    }
  });

  it('changes state, and the state triggers of every SDK see it', async () => {
    const at = { scope: 'shared', key: caller };
    const first = await relay(caller, { function_id: 'state::set', payload: { ...at, value: { n: 1 } } });
    expect(first).toEqual({ result: { old_value: null, new_value: { n: 1 } } });
    await relay(caller, { function_id: 'state::set', payload: { ...at, value: { n: 2 } } });
    expect(await relay(caller, { function_id: 'state::get', payload: at })).toEqual({ result: { n: 2 } });
    expect(await relay(caller, { function_id: 'state::get', payload: { ...at, key: 'missing' } })).toEqual({
      result: null,
    });
    for (const peer of PEERS) {
      const events = await waitFor(async () => {
        const found = (await notes(peer, 'state')).filter((data) => (data as { key: string }).key === caller);
        return found.length >= 2 ? found : undefined;
      });
      expect(events).toHaveLength(2);
      expect(events).toContainEqual(
        expect.objectContaining({ type: 'state', event_type: 'state:created', scope: 'shared', new_value: { n: 1 } }),
      );
      expect(events).toContainEqual(
        expect.objectContaining({ event_type: 'state:updated', old_value: { n: 1 }, new_value: { n: 2 } }),
      );
    }
  });

  it('serves an HTTP route', async () => {
    const answer = await fetch(`http://127.0.0.1:${engine.ports['http']}/peers/${caller}/hello`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ a: [1] }),
    });
    expect(answer.status).toBe(201);
    expect(answer.headers.get('x-peer')).toBe(caller);
    expect(await answer.json()).toEqual({ word: 'hello', sent: { a: [1] } });
  });

  it('provides a trigger type to the workers of every SDK', async () => {
    for (const peer of PEERS) await call(`${peer}::bind`, { type: `${caller}::bell`, config: { for: peer } });
    const rung = await waitFor(async () => {
      const bindings = await call<Binding[]>(`${caller}::ring`, { payload: { bell: caller } });
      return bindings.length === PEERS.length ? bindings : undefined;
    });
    const byTarget = (one: Binding, other: Binding): number => one.function_id.localeCompare(other.function_id);
    expect([...rung].sort(byTarget)).toEqual(
      PEERS.map((peer) => ({ function_id: `${peer}::on_bell`, config: { for: peer } })).sort(byTarget),
    );
    for (const peer of PEERS) {
      await waitFor(
        async () => (await notes(peer, 'bell')).some((data) => (data as { bell: string }).bell === caller),
        { what: `the bell of ${caller} at ${peer}` },
      );
    }
  });
});

describe('linkly - metadata of calls', () => {
  it.each(WITH_METADATA)('reaches the handlers that know it, sent by %s', async (caller) => {
    const metadata = { tenant: 'a', deep: { list: [1] } };
    for (const peer of WITH_METADATA) {
      const { result } = await relay(caller, { function_id: `${peer}::told`, payload: {}, metadata });
      expect(result).toEqual({ metadata });
      expect(await relay(caller, { function_id: `${peer}::told`, payload: {} })).toEqual({
        result: { metadata: null },
      });
    }
  });

  it('does no harm to workers of older SDKs', async () => {
    for (const peer of PEERS.filter((each) => !WITH_METADATA.includes(each))) {
      for (const caller of WITH_METADATA) {
        const { result } = await relay(caller, { function_id: `${peer}::echo`, payload: { n: 1 }, metadata: { a: 1 } });
        expect(result).toEqual({ from: peer, data: { n: 1 } });
      }
    }
  });
});

describe('linkly - an engine that restarts on its port', () => {
  it('says 1012, and the workers of every SDK come back with all that they offer', async () => {
    const port = engine.ports['iii-worker-manager'] as number;
    const witness = await RawWorker.connect(engine.url);
    await engine.stop();
    await waitFor(() => witness.closeCode !== undefined);
    expect(witness.closeCode).toBe(1012);
    await startEngine(port);
    await allPeers(COME_BACK_MS);
    for (const peer of PEERS) {
      expect(await call(`${peer}::echo`, { back: true })).toEqual({ from: peer, data: { back: true } });
    }
    await call('iii::durable::publish', { topic: 'ledger', data: { entry: 'after the restart' } });
    for (const peer of PEERS) {
      await waitFor(
        async () =>
          (await notes(peer, 'ledger')).some((data) => (data as { entry: string }).entry === 'after the restart'),
        { what: `the ledger at ${peer}` },
      );
      const { result } = await relay(peer, { function_id: 'state::get', payload: { scope: 'shared', key: peer } });
      expect(result).toEqual({ n: 2 });
    }
  });
});
