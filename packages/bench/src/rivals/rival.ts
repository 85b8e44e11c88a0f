/**
 * Trine beside the queues that a user could pick instead: the same work, on the same machine, in the
 * same run. Each client runs in this process, against a server in a process of its own.
 */
import { IN_FLIGHT, settle } from '../load/load.js';

/** Length of a job's payload in bytes of JSON, as everywhere in the bench. */
export { PAYLOAD_BYTES } from '../wire.js';

export interface Rival {
  /** As a user would say it, e.g. `BullMQ on Redis (appendfsync always)`. */
  readonly name: string;
  /** Versions of the client and of its server. */
  readonly versions: string;
  /** What is certain at the moment it acknowledges. */
  readonly guarantee: string;
  /** Opens an empty queue. */
  open(): Promise<RivalQueue>;
}

export interface RivalQueue {
  /** Adds one job; resolves when it is acknowledged. */
  enqueue(payload: { readonly n: number; readonly pad: string }): Promise<unknown>;
  /** Begins to run jobs, each of which does nothing; tells of each that has ended and is acknowledged as such. */
  work(ended: () => void): Promise<void>;
  close(): Promise<void>;
}

export interface RivalResult {
  readonly name: string;
  readonly versions: string;
  readonly guarantee: string;
  /** Jobs acknowledged per second, one by one with 256 in flight. */
  readonly enqueueRate: number;
  /** Jobs run to their end per second, from a backlog. */
  readonly processRate: number;
  readonly jobs: number;
}

/** Jobs of the backlog that is run, at most: enough for seconds, whatever the rival. */
const MAX_BACKLOG = 60_000;
/** How long a backlog may take to be run, in milliseconds. */
const PROCESS_DEADLINE_MS = 180_000;

/** Enqueues for so many seconds, then runs all of it. */
export async function measureRival(rival: Rival, seconds: number, pad: string): Promise<RivalResult> {
  const queue = await rival.open();
  try {
    // A connection pool, a first query plan, a compiler: not what is compared.
    let n = 0;
    for (let i = 0; i < IN_FLIGHT; i++) await queue.enqueue({ n: n++, pad });

    const from = performance.now();
    const until = from + seconds * 1_000;
    let acknowledged = 0;
    const client = async (): Promise<void> => {
      while (performance.now() < until && n < MAX_BACKLOG) {
        await queue.enqueue({ n: n++, pad });
        acknowledged++;
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, client));
    const enqueueRate = (acknowledged * 1_000) / (performance.now() - from);

    let ended = 0;
    let firstAt = 0;
    let lastAt = 0;
    const began = performance.now();
    await queue.work(() => {
      lastAt = performance.now();
      if (ended++ === 0) firstAt = lastAt;
    });
    await settle(`${n} jobs of ${rival.name}`, () => ended >= n, PROCESS_DEADLINE_MS);
    if (ended !== n) throw new Error(`${rival.name}: ${n} jobs were enqueued and ${ended} ended`);
    const { name, versions, guarantee } = rival;
    // From the first end: how long a worker takes to start is another matter.
    const processRate = n > 1 ? ((n - 1) * 1_000) / (lastAt - (firstAt || began)) : Number.NaN;
    return { name, versions, guarantee, enqueueRate, processRate, jobs: n };
  } finally {
    await queue.close();
  }
}
