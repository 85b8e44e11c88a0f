/** What every place of state keeps: an adapter's own test file calls `stateSuite`. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readUpdateOps } from '../../../../values/index.js';
import type { StateAdapter } from '../index.js';

/** A fresh, empty place for one test. */
export interface StatePlaceForTests {
  open(): Promise<StateAdapter>;
  /** Ends an adapter and what it needs of the engine; the place can be opened again. */
  close(adapter: StateAdapter): Promise<void>;
  remove(): Promise<void>;
}

const CONTEXT = { traceparent: undefined, baggage: undefined, metadata: undefined };

export function stateSuite(name: string, makePlace: () => Promise<StatePlaceForTests>): void {
  describe(`state in ${name}`, () => {
    let place: StatePlaceForTests;
    let state: StateAdapter;
    const get = async (scope: string, key: string): Promise<string | undefined> => state.get(scope, key, CONTEXT);
    const set = (scope: string, key: string, value: string): Promise<string | undefined> =>
      state.set(scope, key, value, CONTEXT);
    const remove = (scope: string, key: string): Promise<string | undefined> => state.delete(scope, key, CONTEXT);

    beforeEach(async () => {
      place = await makePlace();
      state = await place.open();
    });
    afterEach(async () => {
      await place.close(state);
      await place.remove();
    });

    it('keeps the text of a value over a restart', async () => {
      const text = '{ "float": 1.0, "big": 12345678901234567890, "text": "\\u00e9 é" }';
      expect(await set('s', 'k', text)).toBeUndefined();
      expect(await get('s', 'k')).toBe(text);
      await place.close(state);
      state = await place.open();
      expect(await get('s', 'k')).toBe(text);
      expect(await set('s', 'k', '2')).toBe(text);
    });

    it('tells absence from null', async () => {
      expect(await get('s', 'k')).toBeUndefined();
      expect(await set('s', 'k', 'null')).toBeUndefined();
      expect(await get('s', 'k')).toBe('null');
      expect(await remove('s', 'k')).toBe('null');
      expect(await get('s', 'k')).toBeUndefined();
      expect(await remove('s', 'k')).toBeUndefined();
    });

    it('lists values in the order in which their keys were first set, and scopes in the order of their names', async () => {
      for (const [key, value] of [
        ['b', '1'],
        ['a', '2'],
        ['c', '3'],
        ['b', '4'],
      ] as const)
        await set('scope', key, value);
      await set('other', 'x', '1');
      await set('éa', 'x', '1');
      expect(await state.list('scope', CONTEXT)).toBe('[4,2,3]');
      expect(await state.list('nobody', CONTEXT)).toBe('[]');
      expect(await state.listScopes(CONTEXT)).toEqual(['other', 'scope', 'éa']);
      await remove('scope', 'b');
      await set('scope', 'b', '5');
      await remove('other', 'x');
      expect(await state.list('scope', CONTEXT)).toBe('[2,3,5]');
      expect(await state.listScopes(CONTEXT)).toEqual(['scope', 'éa']);
    });

    it('loses no update of many at once', async () => {
      const ops = readUpdateOps('state::update', '[{"type":"increment","path":"n","by":1}]');
      const answers = await Promise.all(
        Array.from({ length: 500 }, () => state.update('s', 'k', ops, undefined, CONTEXT)),
      );
      const values = answers.map((answer) => ('value' in answer ? answer.value : ''));
      expect(values).toEqual(Array.from({ length: 500 }, (_, i) => `{"n":${i + 1}}`));
      expect(answers[1]).toMatchObject({ old: '{"n":1}' });
      expect(await get('s', 'k')).toBe('{"n":500}');
    });

    it('settles the writes of one key in the order in which they were stored', async () => {
      const ops = readUpdateOps('state::update', '[{"type":"increment","path":"","by":1}]');
      const settled: string[] = [];
      const told = (what: string) => (): void => void settled.push(what);
      await Promise.all([
        set('s', 'k', '1').then(told('set 1')),
        state.update('s', 'k', ops, undefined, CONTEXT).then(told('update')),
        set('s', 'k', '10').then(told('set 10')),
        state.update('s', 'k', ops, undefined, CONTEXT).then(told('update')),
        remove('s', 'k').then(told('delete')),
        set('s', 'k', '5').then(told('set 5')),
      ]);
      expect(settled).toEqual(['set 1', 'update', 'set 10', 'update', 'delete', 'set 5']);
      expect(await get('s', 'k')).toBe('5');
    });

    it('stores nothing of an update that would be too large', async () => {
      await set('s', 'k', '"12345"');
      const ops = readUpdateOps('state::update', '[{"type":"append","value":"678"}]');
      expect(await state.update('s', 'k', ops, 9, CONTEXT)).toEqual({ tooLarge: 10 });
      expect(await get('s', 'k')).toBe('"12345"');
      expect(await state.update('s', 'k', ops, 10, CONTEXT)).toEqual({
        old: '"12345"',
        value: '"12345678"',
        errors: [],
      });
    });

    /**
     * One writer per key counts up. A read may show any value between the newest that was acknowledged
     * (or seen by anyone) before it began and the newest that was asked for before it ended.
     */
    it('is linearizable per key', async () => {
      const keys = ['a', 'b', 'c', 'd'];
      const asked = new Map(keys.map((key) => [key, 0]));
      const known = new Map(keys.map((key) => [key, 0]));
      const see = (key: string, value: number, atLeast: number): void => {
        expect(value).toBeGreaterThanOrEqual(atLeast);
        expect(value).toBeLessThanOrEqual(asked.get(key) as number);
        known.set(key, Math.max(known.get(key) as number, value));
      };
      let reads = 0;
      let writing = true;
      const write = async (key: string): Promise<void> => {
        for (let n = 1; n <= 100; n++) {
          asked.set(key, n);
          await set('s', key, String(n));
          see(key, n, n);
        }
      };
      const read = async (offset: number): Promise<void> => {
        for (let i = offset; writing; i++) {
          const key = keys[i % keys.length] as string;
          const atLeast = known.get(key) as number;
          see(key, Number(await get('s', key)), atLeast);
          reads++;
          await new Promise((resolve) => setImmediate(resolve));
        }
      };
      const list = async (): Promise<void> => {
        while (writing) {
          const before = new Map(known);
          const values = JSON.parse(await state.list('s', CONTEXT)) as number[];
          keys.forEach((key, i) => see(key, values[i] as number, before.get(key) as number));
          await new Promise((resolve) => setImmediate(resolve));
        }
      };
      // The order of the list is the order of the first writes.
      for (const key of keys) await set('s', key, '0');
      const others = [read(0), read(1), list()];
      await Promise.all(keys.map(write));
      writing = false;
      await Promise.all(others);
      expect(reads).toBeGreaterThan(50);
      for (const key of keys) expect(await get('s', key)).toBe('100');
    });
  });
}
