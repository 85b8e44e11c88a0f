import { FakeClock } from '@trine/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { Confirmations, MAX_KEPT_RESULT_BYTES, MAX_KEPT_RESULTS } from './confirmations.js';

let clock: FakeClock;
let pings: string[];
let isRunning: boolean;
let confirmations: Confirmations;

beforeEach(() => {
  clock = new FakeClock();
  pings = [];
  isRunning = true;
  confirmations = new Confirmations(
    clock,
    (payload) => pings.push(payload),
    () => isRunning,
  );
});

describe('what a client has received', () => {
  it('is asked for by at most one ping a second, and by none while nothing is written', async () => {
    for (let i = 0; i < 50; i++) {
      confirmations.wrote();
      await clock.advance(100);
      const last = pings.at(-1);
      if (last !== undefined) confirmations.pong(last);
    }
    expect(pings.length).toBeGreaterThanOrEqual(5);
    expect(pings.length).toBeLessThanOrEqual(6);
    await clock.advance(1_000);
    confirmations.pong(pings.at(-1) as string);
    const asked = pings.length;
    await clock.advance(60_000);
    expect(pings.length).toBe(asked);
  });

  it('is not asked for again before the answer, nor when nothing hangs on it', async () => {
    confirmations.wrote();
    await clock.advance(60_000);
    expect(pings).toEqual(['1']);
    isRunning = false;
    confirmations.pong('1');
    confirmations.wrote();
    await clock.advance(60_000);
    expect(pings).toEqual(['1']);
  });

  it('is everything written before the ping that the pong answers, and nothing after it', async () => {
    const [first, second] = [confirmations.wrote(), confirmations.wrote()];
    await clock.advance(0);
    const third = confirmations.wrote();
    expect(confirmations.has(first)).toBe(false);
    confirmations.pong(pings[0] as string);
    expect([first, second, third].map((number) => confirmations.has(number))).toEqual([true, true, false]);
  });

  it('is not what a client makes up', async () => {
    const number = confirmations.wrote();
    await clock.advance(0);
    for (const payload of ['2', '1000', 'Infinity', '', 'x', '-1', '0.5']) confirmations.pong(payload);
    expect(confirmations.has(number)).toBe(false);
  });
});

describe('results that a client has not confirmed', () => {
  it('are handed over in order, without those that it has', async () => {
    isRunning = false;
    confirmations.keep('a');
    confirmations.keep('b');
    await clock.advance(0);
    // A result itself is worth a ping only where the session says so; here the pong of a running call brings it.
    isRunning = true;
    confirmations.wrote();
    await clock.advance(1_000);
    confirmations.keep('c');
    confirmations.pong(pings[0] as string);
    expect(confirmations.takeKept()).toEqual(['c']);
    expect(confirmations.takeKept()).toEqual([]);
  });

  it(`are the last ${MAX_KEPT_RESULTS}`, () => {
    for (let i = 0; i < 3 * MAX_KEPT_RESULTS; i++) confirmations.keep(String(i));
    const kept = confirmations.takeKept();
    expect([kept.length, kept[0], kept.at(-1)]).toEqual([MAX_KEPT_RESULTS, '2000', '2999']);
  });

  it('are at most 4 MiB, the newest', () => {
    const large = 'x'.repeat(MAX_KEPT_RESULT_BYTES / 4);
    for (let i = 0; i < 10; i++) confirmations.keep(large);
    expect(confirmations.takeKept()).toHaveLength(4);
    confirmations.keep('x'.repeat(MAX_KEPT_RESULT_BYTES + 1));
    confirmations.keep('small');
    expect(confirmations.takeKept()).toEqual(['small']);
    expect(confirmations.isKeeping).toBe(false);
  });

  it('are still kept after the socket has gone, and nobody is pinged for them', async () => {
    confirmations.keep('a');
    confirmations.stop();
    confirmations.keep('b');
    await clock.advance(60_000);
    expect([pings, confirmations.takeKept()]).toEqual([[], ['a', 'b']]);
  });
});
