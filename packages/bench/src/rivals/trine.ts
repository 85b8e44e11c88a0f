/** Trine itself, in the same measurement: with an official SDK, and with bare frames on the same socket. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { registerWorker, TriggerAction } from 'iii-sdk';
import { connect } from '../corked-socket.js';
import { connectEchoWorker } from '../load/echo-worker.js';
import { IN_FLIGHT } from '../load/load.js';
import { Target } from '../target.js';
import { callFrame, invocationId, kindOf, readInvocationId, sequenceOf } from '../wire.js';
import { packageVersion } from './package-version.js';
import type { Rival, RivalQueue } from './rival.js';

const JOB = 'bench::job';
const QUEUE = 'bench';
const CONFIG = {
  workers: [
    { name: 'iii-worker-manager', config: { host: '127.0.0.1', port: 0 } },
    { name: 'iii-queue', config: { queue_configs: { [QUEUE]: { type: 'standard', concurrency: IN_FLIGHT } } } },
  ],
};
const GUARANTEE = 'committed and synced';

export function trineWithSdk(version: string): Rival {
  return {
    name: 'Trine, Node SDK',
    versions: `trine ${version}, iii-sdk ${packageVersion('iii-sdk')}`,
    guarantee: GUARANTEE,
    async open() {
      const engine = await Engine.start();
      const sdk = (name: string) => registerWorker(engine.url, { workerName: name, otel: { enabled: false } });
      const client = sdk('client');
      let worker: ReturnType<typeof registerWorker> | undefined;
      const action = TriggerAction.Enqueue({ queue: QUEUE });
      return {
        enqueue: (payload) => client.trigger({ function_id: JOB, payload, action }),

        async work(ended) {
          worker = sdk('worker');

          worker.registerFunction(JOB, async () => {
            ended();
            return null;
          });
        },
        async close() {
          await worker?.shutdown();
          await client.shutdown();
          await engine.stop();
        },
      };
    },
  };
}

export function trineWithFrames(version: string): Rival {
  return {
    name: 'Trine, bare frames',
    versions: `trine ${version}`,
    guarantee: GUARANTEE,
    async open(): Promise<RivalQueue> {
      const engine = await Engine.start();
      const waiting = new Map<number, { readonly done: () => void; readonly fail: (error: Error) => void }>();
      let sequence = 0;
      const client = await connect(engine.url, (frame) => {
        if (kindOf(frame) !== 'invocationresult') return;
        const id = sequenceOf(readInvocationId(frame) ?? '');
        const waiter = waiting.get(id);
        waiting.delete(id);
        if (frame.includes('"error":{')) waiter?.fail(new Error(frame));
        else waiter?.done();
      });
      let worker: { close(): Promise<void> } | undefined;
      return {
        enqueue: (payload) =>
          new Promise<void>((done, fail) => {
            const id = sequence++;
            waiting.set(id, { done, fail });
            const action = `{"type":"enqueue","queue":"${QUEUE}"}`;
            client.send(callFrame(invocationId(id), JOB, JSON.stringify(payload), action));
          }),
        async work(ended) {
          worker = await connectEchoWorker(engine.url, [JOB], 'null', ended);
        },
        async close() {
          await worker?.close();
          await client.close();
          await engine.stop();
        },
      };
    },
  };
}

/** An engine in a process and a folder of its own. */
class Engine {
  readonly #target: Target;
  readonly #folder: string;

  private constructor(target: Target, folder: string) {
    this.#target = target;
    this.#folder = folder;
  }

  static async start(): Promise<Engine> {
    const cwd = mkdtempSync(join(tmpdir(), 'trine-bench-rivals-'));
    const target = await Target.start({ entry: './engine-process.js', args: [JSON.stringify(CONFIG)], cwd });
    return new Engine(target, cwd);
  }

  get url(): string {
    return this.#target.url;
  }

  async stop(): Promise<void> {
    await this.#target.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
