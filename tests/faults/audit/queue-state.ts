import { waitFor } from '@trine/testing';
import type { DeadLetter } from './job-log.js';

const PAGE = 1_000;

interface Caller {
  call(functionId: string, data: unknown): Promise<unknown>;
}

/** All dead letters of a queue or topic, as its clients can read them. */
export async function readDeadLetters(client: Caller, topic: string): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = [];
  for (;;) {
    const request = { topic, offset: letters.length, limit: PAGE };
    const page = (await client.call('engine::queue::dlq_messages', request)) as DeadLetter[];
    letters.push(...page);
    if (page.length < PAGE) return letters;
  }
}

/** Waits until nothing of a queue or topic waits, runs or is delayed. */
export async function waitUntilEmpty(client: Caller, topic: string, timeoutMs: number): Promise<void> {
  let stats: unknown;
  await waitFor(
    async () => {
      stats = await client.call('engine::queue::topic_stats', { topic });
      const { depth, delayed, running } = stats as { depth: number; delayed: number; running: number };
      return depth === 0 && delayed === 0 && running === 0;
    },
    { timeoutMs, everyMs: 50, what: `${topic} to become empty` },
  ).catch((error: unknown) => {
    throw new Error(`${topic} is not empty: ${JSON.stringify(stats)}`, { cause: error });
  });
}
