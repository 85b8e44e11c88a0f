import { Payload } from '@trine/protocol';
import { expect, it } from 'vitest';
import { AccessHooks } from './access-hook.js';
import { systemClock } from './clock.js';
import { Core } from './core.js';
import { LocalSession } from './local-session.js';
import { silentLog } from './log.js';
import { systemRandom } from './random.js';
import { secretsEqual } from './secret-equal.js';

it('a hook that the waiting connection serves itself is not called: its answer could never come', async () => {
  const core = new Core({ clock: systemClock, random: systemRandom, log: silentLog });
  const [owner, other] = [new LocalSession(core, 'local', 'owner'), new LocalSession(core, 'local', 'other')];
  owner.register({ id: 'hook', handler: () => ({}) });
  let called = 0;
  const hooks = new AccessHooks(async () => {
    called++;
    return { ok: true, result: Payload.emptyObject };
  }, core.registry);
  await expect(hooks.ask('hook', {}, 1_000, owner)).resolves.toMatchObject({
    ok: false,
    fault: expect.stringContaining('same connection') as string,
  });
  expect(called).toBe(0);
  await expect(hooks.ask('hook', {}, 1_000, other)).resolves.toEqual({ ok: true, value: {} });
});

it('secrets are equal or not, of whatever length', () => {
  expect(secretsEqual('key', 'key')).toBe(true);
  for (const wrong of ['', 'kez', 'key2', 'ke']) expect(secretsEqual(wrong, 'key')).toBe(false);
});
