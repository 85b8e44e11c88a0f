import { FakeClock } from '@trine/testing';
import { expect, it } from 'vitest';
import { Limiter } from './limiter.js';

it('admits as many as the limit, the others in the order they came', async () => {
  const clock = new FakeClock();
  const limiter = new Limiter(1);
  const order: string[] = [];
  expect(limiter.tryEnter()).toBe(true);
  const waits = ['a', 'b'].map((name) => limiter.enter(clock, 1000).then((grant) => order.push(`${name} ${grant}`)));
  expect(limiter.tryEnter()).toBe(false);
  limiter.leave();
  limiter.leave();
  await Promise.all(waits);
  expect(order).toEqual(['a granted', 'b granted']);
  expect(limiter.running).toBe(1);
  expect(clock.pending).toBe(0);
});

it('gives up one that waited too long and refuses one too many', async () => {
  const clock = new FakeClock();
  const limiter = new Limiter(1, 1);
  limiter.tryEnter();
  const late = limiter.enter(clock, 100);
  expect(await limiter.enter(clock, 100)).toBe('refused');
  await clock.advance(100);
  expect(await late).toBe('late');
  limiter.leave();
  expect(limiter.tryEnter()).toBe(true);
});

it('admits more at once when the limit is raised', async () => {
  const clock = new FakeClock();
  const limiter = new Limiter(1);
  limiter.tryEnter();
  const waiting = [limiter.enter(clock, 100), limiter.enter(clock, 100)];
  limiter.setLimit(3);
  expect(await Promise.all(waiting)).toEqual(['granted', 'granted']);
  expect(limiter.waiting).toBe(0);
});

it('forgets who has left the line, and gives the place to the next', async () => {
  const clock = new FakeClock();
  const limiter = new Limiter(1, 2);
  expect(limiter.tryEnter()).toBe(true);
  const gone = new AbortController();
  const left = limiter.enter(clock, 1_000, gone.signal);
  const next = limiter.enter(clock, 1_000);
  expect(limiter.waiting).toBe(2);
  gone.abort();
  expect(await left).toBe('gone');
  expect([limiter.waiting, clock.pending]).toEqual([1, 1]);
  limiter.leave();
  expect(await next).toBe('granted');
  expect([limiter.running, limiter.waiting]).toEqual([1, 0]);
});
