/** The table of rivals: who was measured, how it went beside Trine, and what each acknowledgement is worth. */
import { ENGINE_VERSION } from '@trine/engine';
import { randomPayload, seededRandom } from '../random.js';
import { bullmqOnPostgres, bullmqOnRedis } from './bullmq.js';
import { graphileWorker } from './graphile-worker.js';
import { pgBoss } from './pg-boss.js';
import { measureRival, PAYLOAD_BYTES, type Rival, type RivalResult } from './rival.js';
import { withPostgres, withRedis } from './servers.js';
import { trineWithFrames, trineWithSdk } from './trine.js';

export interface RivalsResult {
  readonly results: readonly RivalResult[];
  /** Who could not be measured, and why. */
  readonly missing: readonly string[];
}

/** Measures all of them, one after the other, each on an empty server of its own. */
export async function measureRivals(
  seconds: number,
  seed: number,
  tell: (line: string) => void,
): Promise<RivalsResult> {
  const pad = randomPayload(seededRandom(seed), PAYLOAD_BYTES - '{"n":1234567,"pad":""}'.length).replaceAll('"', "'");
  const results: RivalResult[] = [];
  const missing: string[] = [];
  const measure = async (rival: Rival): Promise<void> => {
    const result = await measureRival(rival, seconds, pad);
    results.push(result);
    tell(
      `  ${result.name}: ${rate(result.enqueueRate)} enqueued, ${rate(result.processRate)} run, ${result.jobs} jobs`,
    );
  };
  await measure(trineWithFrames(ENGINE_VERSION));
  await measure(trineWithSdk(ENGINE_VERSION));
  for (const appendfsync of [undefined, 'always'] as const) {
    const isThere = await withRedis(appendfsync, (server) => measure(bullmqOnRedis(server)));
    if (!isThere) missing.push(`BullMQ on Redis: redis-server is not installed`);
  }
  for (const rival of [bullmqOnPostgres, pgBoss, graphileWorker]) {
    const isThere = await withPostgres((server) => measure(rival(server)));
    if (!isThere) missing.push(`${rival.name}: PostgreSQL is not installed`);
  }
  return { results, missing };
}

export function rivalsLine({ results, missing }: RivalsResult): string {
  return [`Other queues: ${results.length} measured`, ...missing].join('\n  ');
}

export function rivalsTable({ results, missing }: RivalsResult): string {
  const own = results[0];
  const share = (value: number, ours: number | undefined): string => (value / (ours ?? Number.NaN)).toFixed(2);
  return [
    'Other queues, the same work in the same run (each client and its jobs in one process, the server in another):',
    '',
    '| Queue | Versions | Enqueued one by one, 256 in flight | of Trine | Backlog run to its end | of Trine | What an acknowledgement says |',
    '|---|---|--:|--:|--:|--:|---|',
    ...results.map(
      ({ name, versions, guarantee, enqueueRate, processRate }) =>
        `| ${name} | ${versions} | ${rate(enqueueRate)} | ${share(enqueueRate, own?.enqueueRate)} ` +
        `| ${rate(processRate)} | ${share(processRate, own?.processRate)} | ${guarantee} |`,
    ),
    ...(missing.length === 0 ? [] : ['', `Not measured: ${missing.join('; ')}.`]),
  ].join('\n');
}

function rate(perSecond: number): string {
  return `${Math.round(perSecond).toLocaleString('en-US')}/s`;
}
