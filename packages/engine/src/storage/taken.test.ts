import { describe, expect, it } from 'vitest';
import { Taken } from './taken.js';

describe('operations taken or refused', () => {
  it('runs what was not refused, and refuses what was not taken', () => {
    const main = new Taken();
    const thread = new Taken(main.buffer);
    expect([1, 2, 3].map(thread.take(3))).toEqual([true, true, true]);
    const isRefused = main.refuse(5);
    expect([1, 2, 3, 4, 5, 6].map((id) => isRefused?.(id))).toEqual([false, false, false, true, true, false]);
    // A group that holds refused ones and later ones.
    expect([4, 5, 6].map(thread.take(6))).toEqual([false, false, true]);
    expect(main.refuse(6)).toBeUndefined();
    expect([6].map(thread.take(6))).toEqual([false]);
  });

  it('goes on past 32 bits', () => {
    const main = new Taken();
    const thread = new Taken(main.buffer);
    const step = 2 ** 30;
    for (let id = step; id < 20 * step; id += step) {
      expect(thread.take(id)(id)).toBe(true);
      const isRefused = main.refuse(id + 7);
      expect([id, id + 1, id + 7, id + 8].map((each) => isRefused?.(each))).toEqual([false, true, true, false]);
      expect(thread.take(id + 7)(id + 7)).toBe(false);
    }
  });
});
