import { isUuid } from '@trine/protocol';
import { expect, it } from 'vitest';
import { CallIds } from './call-ids.js';
import { systemRandom } from './random.js';

const ids = new CallIds(systemRandom);

it('makes UUID-shaped ids and finds their numbers again', () => {
  expect(ids.next()).toBe(1);
  for (const number of [1, 0xffff, 0x1_0000, 0x1_0001, 0xffff_ffff, 2 ** 40 + 3, 2 ** 48 - 1, 2]) {
    const id = ids.idOf(number);
    expect(isUuid(id)).toBe(true);
    expect(ids.numberOf(id)).toBe(number);
  }
});

it('knows ids of others', () => {
  const own = ids.idOf(0xabc);
  const foreign = ['', 'x', own.slice(1), `${own}0`, own.toUpperCase(), `${own.slice(0, -1)}g`, `${own.slice(0, -1)}é`];
  for (const id of [...foreign, new CallIds(systemRandom).idOf(0xabc)]) expect(ids.numberOf(id)).toBe(0);
});
