import { describe, expect, it } from 'vitest';
import { BoundedRing } from './bounded-ring.js';

describe('a bounded ring', () => {
  it('lets the oldest go for their number and for their size', () => {
    const ring = new BoundedRing<number>({ maxCount: 3, maxBytes: 100 });
    for (let n = 1; n <= 5; n++) ring.push(n, 10);
    expect([...ring.items()]).toEqual([3, 4, 5]);
    expect([ring.size, ring.bytes, ring.dropped]).toEqual([3, 30, 2]);
    ring.push(6, 85);
    expect([...ring.items()]).toEqual([5, 6]);
    ring.push(7, 101);
    expect([ring.size, ring.bytes]).toEqual([0, 0]);
    ring.push(8, 1);
    expect([...ring.items()]).toEqual([8]);
  });

  it('puts one in the place of another while that is there', () => {
    const ring = new BoundedRing<string>({ maxCount: 2, maxBytes: 100 });
    ring.push('a', 1);
    ring.push('b', 1);
    expect(ring.replace('a', 'A', 5)).toBe(true);
    expect([[...ring.items()], ring.bytes]).toEqual([['A', 'b'], 6]);
    expect(ring.replace('x', 'y', 1)).toBe(false);
  });

  it('keeps the newest when it shrinks, and nothing when it is cleared', () => {
    const ring = new BoundedRing<number>({ maxCount: 5_000, maxBytes: 1e9 });
    for (let n = 0; n < 20_000; n++) ring.push(n, 1);
    expect([...ring.items()][0]).toBe(15_000);
    ring.resize(2);
    expect([...ring.items()]).toEqual([19_998, 19_999]);
    ring.clear();
    expect([ring.size, ring.bytes, ring.dropped, [...ring.items()]]).toEqual([0, 0, 0, []]);
  });
});
