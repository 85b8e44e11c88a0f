import { waitFor } from '@trine/testing';
import { expect } from 'vitest';
import type { ClientProcess } from '../client-process.js';
import type { Feature } from './feature.js';

export interface Binding {
  readonly id: string;
  readonly function_id: string;
  readonly config: unknown;
}

/** What a provider has been told of. */
export async function bindings(provider: ClientProcess, type: string, count: number): Promise<Binding[]> {
  return waitFor(
    async () => {
      const found = await provider.do<Binding[]>('bindings', { type });
      return found.length === count ? found : undefined;
    },
    { what: `${count} bindings of ${type}` },
  );
}

export const triggerTypes: readonly Feature[] = [
  {
    id: 'trigger-types',
    title: 'trigger type offered to another SDK',
    async run({ engine, client, binder }) {
      const type = `${client.name}-bell`;
      const target = binder.id(`on-${type}`);
      await binder.do('serve', { function_id: target, behaviour: 'note' });
      await engine.served(target);

      // Bound before anybody offers the type: it waits.
      await binder.do('bind', { type, function_id: target, config: { loud: true }, handle: type });
      await engine.bound(target, 1, 'pending');
      await client.do('provide', { type });
      const [early] = await bindings(client, type, 1);
      expect(early).toMatchObject({ function_id: target, config: { loud: true } });
      await engine.bound(target);

      await binder.do('bind', { type, function_id: target, config: { loud: false }, handle: `${type}-2` });
      const both = await bindings(client, type, 2);
      expect(both.map(({ config }) => config)).toEqual(expect.arrayContaining([{ loud: true }, { loud: false }]));
      await client.do('fire', { type, payload: { rung: true } });
      await waitFor(async () => (await binder.notes(target)).length === 2, { what: 'the bell' });
      expect(await binder.noted(target)).toMatchObject([{ rung: true }, { rung: true }]);

      // What the provider refuses is not active.
      await binder.do('bind', { type, function_id: target, config: { refuse: 'tenors' }, handle: `${type}-3` });
      await engine.bound(target, 1, 'pending');
      await engine.bound(target, 2);
    },
  },
  {
    id: 'trigger-types-unbind',
    title: 'trigger type told of what is unbound',
    async run({ engine, client, binder }) {
      const type = `${client.name}-gong`;
      const target = binder.id(`on-${type}`);
      await binder.do('serve', { function_id: target, behaviour: 'note' });
      await client.do('provide', { type });
      await binder.do('bind', { type, function_id: target, config: {}, handle: type });
      await bindings(client, type, 1);
      await binder.do('unbind', { handle: type });
      await bindings(client, type, 0);
      await engine.bound(target, 0);
    },
  },
  {
    id: 'trigger-types-withdrawn',
    title: 'trigger type withdrawn and offered again',
    async run({ engine, client, binder }) {
      const type = `${client.name}-horn`;
      const target = binder.id(`on-${type}`);
      await binder.do('serve', { function_id: target, behaviour: 'note' });
      await client.do('provide', { type });
      await binder.do('bind', { type, function_id: target, config: { n: 1 }, handle: type });
      const [before] = await bindings(client, type, 1);
      await client.do('withdraw', { type });
      await engine.bound(target, 1, 'pending');
      await client.do('provide', { type });
      const [after] = await bindings(client, type, 1);
      expect(after).toEqual(before);
    },
  },
];
