import { waitFor } from '@trine/testing';
import { expect } from 'vitest';
import { absence } from '../absences.js';
import type { Feature } from './feature.js';
import { bindings } from './trigger-types.js';

/** The longest wait of an SDK before it connects again stays below this here, in milliseconds. */
const COME_BACK_MS = 40_000;

export const restart: readonly Feature[] = [
  {
    id: 'reconnect',
    title: 'comes back after a restart of the engine, with all that it offers',
    phase: 'restarted',
    async run({ engine, client, partner, binder }) {
      await waitFor(
        async () => {
          const ids = await engine.functionIds();
          return ids.includes(client.id('echo')) && ids.includes(partner.id('echo'));
        },
        { timeoutMs: COME_BACK_MS, what: `${client.name} and ${partner.name} to come back` },
      );
      expect(await partner.result(client.id('echo'), { back: true })).toEqual({
        from: client.name,
        data: { back: true },
      });
      expect(await client.result(partner.id('echo'), { back: true })).toEqual({
        from: partner.name,
        data: { back: true },
      });
      // Its triggers, of the engine and of another SDK.
      await engine.bound(client.id('news'));
      const before = (await client.notes(client.id('news'))).length;
      await partner.result('publish', { topic: 'news', data: { for: client.name } });
      await waitFor(async () => (await client.notes(client.id('news'))).length > before, { what: 'the news' });
      if (absence(client.client, 'trigger-types') === undefined) {
        const bell = `${client.name}-bell`;
        await engine.bound(binder.id(`on-${bell}`), 2);
        expect((await bindings(client, bell, 2)).length).toBe(2);
      }
      // What was answered before is there: a durable write of the client's own.
      expect(await client.result('state::get', { scope: 'restart', key: client.name })).toEqual({ kept: true });
    },
  },
];
