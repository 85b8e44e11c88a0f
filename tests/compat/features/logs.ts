import { waitFor } from '@trine/testing';
import type { Feature } from './feature.js';

/** The SDKs send a record at a time, ten in a second, in milliseconds. */
const LOGGED_TIMEOUT_MS = 40_000;

export const logs: readonly Feature[] = [
  {
    id: 'logs',
    title: 'Logger, heard in the log of the engine',
    async run({ engine, client }) {
      const message = `${client.name} says hello`;
      await client.do('log', { message, fields: { answer: 42 } });
      const escaped = message.replaceAll('.', String.raw`\.`);
      const entry = new RegExp(String.raw`\[WARN\].*${escaped}\n.*answer.*42`);
      await waitFor(() => entry.test(engine.output), { timeoutMs: LOGGED_TIMEOUT_MS, what: `the entry '${message}'` });
    },
  },
];
