/** What the tutorial's chapter promises of its queue, with the link worker's real code. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { FakeClock, waitFor } from '@trine/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { LinklyStack } from './stack.js';

const BLOCKED_MS = 3_000;
/** Between two redirects while the database is blocked, in milliseconds. */
const FOLLOW_EVERY_MS = 250;

/** Holds the write lock of a database until it is told, as another program may. */
const HOLD_LOCK = `
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
`;

interface Stats {
  readonly depth: number;
  readonly delayed: number;
  readonly running: number;
  readonly dlq_depth: number;
}

interface DeadLetter {
  readonly payload: unknown;
  readonly error: string;
  readonly retries: number;
  readonly function_id: string;
  readonly attempts: { readonly at: number; readonly error: string }[];
}

let stack: LinklyStack | undefined;
let blocker: ChildProcess | undefined;

afterEach(async () => {
  blocker?.kill('SIGKILL');
  await stack?.stop();
  blocker = stack = undefined;
});

describe('linkly - a redirect', () => {
  it('answers while the database is blocked for 3 s, and its click is stored afterwards', async () => {
    const linkly = (stack = await LinklyStack.start());
    const depth = async (): Promise<number> =>
      (await linkly.call<Stats>('engine::queue::topic_stats', { topic: 'clicks' })).depth;
    await linkly.follow('demo');
    await waitFor(async () => (await linkly.clicks()) === 1);

    const holder = spawn('python3', ['-c', HOLD_LOCK, join(linkly.folder.path, 'data', 'iii.db')], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    blocker = holder;
    await once(holder.stdout, 'data');
    const heldAt = performance.now();
    let followed = 0;
    await waitFor(
      async () => {
        const answer = await linkly.follow('demo');
        followed++;
        expect([answer.status, answer.headers.get('location')]).toEqual([302, 'https://iii.dev']);
        return performance.now() - heldAt > BLOCKED_MS;
      },
      { everyMs: FOLLOW_EVERY_MS },
    );
    // All were answered, none is stored: the slow write is not on the way of an answer.
    expect(followed).toBeGreaterThan(1);
    expect(await depth()).toBe(followed);

    holder.stdin.end('\n');
    await waitFor(async () => (await linkly.clicks()) === 1 + followed, { timeoutMs: 30_000, what: 'the clicks' });
    await waitFor(async () => (await depth()) === 0);
  });
});

describe('linkly - a click that the database refuses', () => {
  it('is delivered at 0, 1, 3, 7 and 15 s, then dead-lettered with its real error; a redrive after the repair stores it', async () => {
    const clock = new FakeClock();
    const linkly = (stack = await LinklyStack.start(clock));
    const stats = (): Promise<Stats> => linkly.call('engine::queue::topic_stats', { topic: 'clicks' });
    const deadLetters = (): Promise<DeadLetter[]> => linkly.call('engine::queue::dlq_messages', { topic: 'clicks' });
    await linkly.execute(
      "CREATE TRIGGER refuse BEFORE INSERT ON clicks BEGIN SELECT RAISE(ABORT, 'clicks are closed'); END",
    );
    const startedAt = clock.now();
    expect((await linkly.follow('demo')).status).toBe(302);

    // Each retry waits for the answer to the delivery before it, then for its time.
    for (const seconds of [1, 2, 4, 8]) {
      await waitFor(
        async () => {
          const { delayed, running } = await stats();
          return delayed === 1 && running === 0;
        },
        { what: `the job to wait ${seconds} s` },
      );
      await clock.advance(seconds * 1_000 - 1);
      expect(await stats()).toMatchObject({ delayed: 1, running: 0 });
      await clock.advance(1);
    }
    await waitFor(async () => (await stats()).dlq_depth === 1, { what: 'the dead letter' });
    const letters = await deadLetters();
    expect(letters).toMatchObject([
      {
        payload: { code: 'demo', clicked_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT/) as string },
        error: expect.stringContaining('clicks are closed') as string,
        retries: 5,
        function_id: 'link::record_click',
      },
    ]);
    const attempts = letters[0]?.attempts ?? [];
    expect(attempts.map(({ at }) => at - startedAt)).toEqual([0, 1_000, 3_000, 7_000, 15_000]);
    for (const { error } of attempts) expect(error).toContain('clicks are closed');
    expect(await linkly.clicks()).toBe(0);

    await linkly.execute('DROP TRIGGER refuse');
    const redriven = await linkly.call('iii::queue::redrive', { queue: 'clicks' });
    expect(redriven).toEqual({ queue: 'clicks', redriven: 1 });
    await waitFor(async () => (await linkly.clicks()) === 1, { what: 'the click' });
    await waitFor(async () => (await stats()).depth === 0);
    expect(await deadLetters()).toEqual([]);
  });
});
