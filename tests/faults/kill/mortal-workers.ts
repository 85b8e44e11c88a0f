import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { waitFor } from '@trine/testing';
import type { DeliveryFacts, JobLog, Lease } from '../audit/index.js';

const PROGRAM = fileURLToPath(new URL('mortal-worker.mjs', import.meta.url));

/** A step of a worker, or its end by our hand. */
interface Step {
  readonly at: bigint;
  readonly holder: string;
  readonly step: 'start' | 'ok' | 'fail' | 'gone';
  readonly id: string;
  readonly queue: DeliveryFacts | undefined;
}

interface Worker {
  readonly holder: string;
  readonly child: ChildProcess;
  /** Jobs in its handlers, as far as its output was read. */
  readonly running: Set<string>;
}

/** Workers in processes of their own that can be killed in the middle of a job. */
export class MortalWorkers {
  readonly #url: string;
  readonly #functionId: string;
  readonly #workers = new Set<Worker>();
  readonly #steps: Step[] = [];
  #started = 0;
  succeeded = 0;

  constructor(url: string, functionId: string) {
    this.#url = url;
    this.#functionId = functionId;
  }

  start(): void {
    const child = spawn(process.execPath, [PROGRAM, this.#url, this.#functionId], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const worker: Worker = { holder: `process ${++this.#started}`, child, running: new Set() };
    this.#workers.add(worker);
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const told = JSON.parse(line) as Omit<Step, 'at' | 'holder'> & { readonly at: string };
      if (told.step === 'start') worker.running.add(told.id);
      else worker.running.delete(told.id);
      if (told.step === 'ok') this.succeeded++;
      this.#steps.push({ ...told, at: BigInt(told.at), holder: worker.holder });
    });
  }

  /** SIGKILL to a worker that runs jobs. Resolves when it is gone and all that it told is here. */
  async killOne(pick: <T>(from: readonly T[]) => T, timeoutMs: number): Promise<void> {
    const busy = (): Worker[] => [...this.#workers].filter(({ running }) => running.size > 0);
    await waitFor(() => busy().length > 0, { everyMs: 1, timeoutMs, what: 'a worker with a job' });
    await this.#kill(pick(busy()));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => this.#kill(worker)));
  }

  /** Tells a log what happened, in the order in which it did. */
  replay(log: JobLog): void {
    const leases = new Map<string, Lease | undefined>();
    for (const { holder, step, id, queue } of this.#steps.sort((a, b) => Number(a.at - b.at))) {
      const key = `${holder} ${id}`;
      if (step === 'gone') log.gone(holder);
      else if (step === 'start') leases.set(key, log.started(id, holder, queue));
      else {
        const lease = leases.get(key);
        if (lease === undefined) continue;
        if (step === 'ok') log.succeeded(lease);
        else log.failed(lease);
      }
    }
  }

  async #kill(worker: Worker): Promise<void> {
    this.#workers.delete(worker);
    const { child, holder } = worker;
    if (child.exitCode !== null) return;
    const closed = once(child, 'close');
    this.#steps.push({ at: process.hrtime.bigint(), holder, step: 'gone', id: '', queue: undefined });
    child.kill('SIGKILL');
    await closed;
  }
}
