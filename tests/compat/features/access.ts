import { waitFor } from '@trine/testing';
import { expect } from 'vitest';
import type { ClientProcess, Outcome } from '../client-process.js';
import type { Feature } from './feature.js';

const GUEST = 'guest';
/** Enough for an answer; the calls of a connection that is refused never get one. In milliseconds. */
const REFUSED_TIMEOUT_MS = 1_500;
/** For a channel with next to nothing in it, in milliseconds. */
const SMALL_TRANSFER_TIMEOUT_MS = 10_000;
/** Of `III_TOKEN` in the environment of every client. */
export const TOKEN = 'a-token-of-the-test';

/** The functions that keep the rules of this client's own listener. */
async function keepRules(client: ClientProcess): Promise<void> {
  const result = {
    allowed_functions: [client.id('extra')],
    forbidden_functions: [client.id('open::secret')],
    allow_trigger_type_registration: true,
    context: { tenant: client.name },
    function_registration_prefix: `guests-of-${client.name}`,
  };
  await client.do('serve', { function_id: client.id('doorkeeper'), behaviour: 'doorkeeper', options: { result } });
  await client.do('serve', { function_id: client.id('steward'), behaviour: 'steward' });
  for (const hook of ['on_function', 'on_trigger', 'on_trigger_type']) {
    await client.do('serve', { function_id: client.id(hook), behaviour: 'registrar' });
  }
  for (const name of ['open::door', 'open::secret', 'extra', 'closed']) {
    await client.do('serve', { function_id: client.id(name), behaviour: 'echo' });
  }
  await client.do('serve', { function_id: client.id('labelled'), behaviour: 'echo', metadata: { public: true } });
}

const asGuest = (client: ClientProcess, name: string): Promise<Outcome> =>
  client.call({ as: GUEST, function_id: client.id(name), payload: { n: 1 } });

interface Entrance {
  readonly headers: Readonly<Record<string, string>>;
}

/** What the auth function has been asked about. */
async function entered(client: ClientProcess): Promise<Entrance[]> {
  return (await client.noted(client.id('doorkeeper'))) as Entrance[];
}

async function sendsThroughChannel(client: ClientProcess, partner: ClientProcess, as = 'main'): Promise<void> {
  const texts = { count: 2, filler: 10 };
  const read = await client.do('channel_out', {
    as,
    to: partner.id('consume'),
    texts,
    timeout_ms: SMALL_TRANSFER_TIMEOUT_MS,
  });
  expect(read).toMatchObject({ texts: texts.count });
}

export const access: readonly Feature[] = [
  {
    id: 'access-rules',
    title: 'listener with access rules: keeps them, lives under them',
    async run({ engine, client, partner }) {
      await keepRules(client);
      await engine.served(
        ...['doorkeeper', 'steward', 'on_function', 'on_trigger', 'on_trigger_type', 'open::door', 'labelled'].map(
          (name) => client.id(name),
        ),
      );
      await client.do('connect', {
        as: GUEST,
        name: `${client.name}-guest`,
        url: engine.gateUrl(client.client),
        headers: { 'X-Key': 'open' },
      });
      try {
        // Allowed calls go through the middleware, which learns who it is.
        for (const name of ['open::door', 'extra', 'labelled']) {
          expect((await asGuest(client, name)).result).toMatchObject({
            by_way_of: 'steward',
            result: { from: client.name, data: { n: 1 } },
          });
        }
        // Asked once for the worker; for its telemetry too, whose socket has no headers in most SDKs.
        const withKey = (await entered(client)).filter(({ headers }) => headers['x-key'] === 'open');
        expect(withKey[0]).toMatchObject({ query_params: {}, ip_address: '127.0.0.1' });
        const [asked] = await client.notes(client.id('steward'));
        expect(asked?.data).toMatchObject({
          function_id: client.id('open::door'),
          payload: { n: 1 },
          context: { tenant: client.name },
        });
        for (const name of ['closed', 'open::secret', 'no-such-function']) {
          const { error } = await asGuest(client, name);
          expect(error).toMatchObject({ code: 'FORBIDDEN' });
          expect(error?.message).toContain(client.id(name));
        }

        // What a guest offers is known by a name of its own, unless the hook says no.
        await client.do('serve', { as: GUEST, function_id: 'forbidden-thing', behaviour: 'echo' });
        await client.do('serve', { as: GUEST, function_id: 'gift', behaviour: 'echo' });
        const gift = `guests-of-${client.name}::gift`;
        await engine.served(gift);
        expect(await engine.functionIds()).not.toContain(`guests-of-${client.name}::forbidden-thing`);
        expect(await partner.result(gift, { n: 2 })).toEqual({ from: `${client.name}-guest`, data: { n: 2 } });
        await client.do('unserve', { as: GUEST, function_id: 'gift' });
        await waitFor(async () => !(await engine.functionIds()).includes(gift));
        const hooked = await client.noted(client.id('on_function'));
        expect(hooked).toContainEqual(
          expect.objectContaining({ function_id: 'gift', context: { tenant: client.name } }),
        );
      } finally {
        await client.do('disconnect', { as: GUEST });
      }

      // Without the key nobody gets in.
      const refused = `${GUEST}-without-key`;
      await client.do('connect', { as: refused, name: refused, url: engine.gateUrl(client.client) });
      try {
        const words = { function_id: client.id('open::door'), payload: {}, timeout_ms: REFUSED_TIMEOUT_MS };
        expect((await client.call({ as: refused, ...words })).error).toBeDefined();
      } finally {
        await client.do('disconnect', { as: refused });
      }
    },
  },
  {
    id: 'access-bearer-token',
    title: '`III_TOKEN` as a bearer token, on channels too',
    async run({ client, partner }) {
      // After `access-rules`, whose doorkeeper has seen the headers of this client.
      const guest = (await entered(client)).find(({ headers }) => headers['x-key'] === 'open');
      expect(guest?.headers).toMatchObject({ authorization: `Bearer ${TOKEN}` });
      await sendsThroughChannel(client, partner);
    },
  },
  {
    id: 'access-query',
    title: 'query of the address, on channels too',
    async run({ engine, client, partner }) {
      const as = 'with-query';
      await client.do('connect', { as, name: `${client.name}-${as}`, url: `${engine.url}/?token=q1&empty=` });
      try {
        await sendsThroughChannel(client, partner, as);
      } finally {
        await client.do('disconnect', { as });
      }
    },
  },
];
