import { describe, expect, it } from 'vitest';
import { crossBridge, MAX_HOPS } from './hops.js';

describe('the hop count', () => {
  it('counts up to the limit and keeps what else is in the baggage', () => {
    let baggage: string | undefined = 'user=1;p=2, other=x%20y';
    for (let hop = 1; hop <= MAX_HOPS; hop++) {
      baggage = crossBridge(baggage);
      expect(baggage).toBe(`user=1;p=2, other=x%20y,trine-bridge-hops=${hop}`);
    }
    expect(crossBridge(baggage)).toBeUndefined();
  });

  it.each([
    [undefined, 'trine-bridge-hops=1'],
    ['', 'trine-bridge-hops=1'],
    [' trine-bridge-hops = 3 ', 'trine-bridge-hops=4'],
    ['trine-bridge-hops=2,a=1,trine-bridge-hops=5', 'a=1,trine-bridge-hops=6'],
    ['trine-bridge-hops=x', undefined],
    ['trine-bridge-hops=-1', undefined],
  ])('of %j becomes %j', (before, after) => expect(crossBridge(before)).toBe(after));
});
