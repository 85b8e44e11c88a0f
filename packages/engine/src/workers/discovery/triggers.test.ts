import { FakeClock, RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createEngine, type Engine } from '../../engine.js';
import { ANSWER_WAIT_MS } from '../../core/bind-answers.js';

describe('a trigger that belongs to no worker', () => {
  let folder: TempFolder;
  let clock: FakeClock;
  let engine: Engine;
  let caller: RawWorker;

  const register = (input: object): Promise<unknown> => caller.call('engine::register_trigger', input);
  const rows = async (): Promise<unknown> => caller.call('engine::registered-triggers::list', {});
  const timer = { trigger_type: 'timer', function_id: 'f', config: { every: 1 } };

  /** A worker that provides the type `timer`. */
  async function provide(): Promise<RawWorker> {
    const provider = await RawWorker.connect(engine.url);
    provider.send({ type: 'registertriggertype', id: 'timer', description: '' });
    await provider.ask('nobody::here', null);
    return provider;
  }

  /** What a provider says of the trigger that it was told of. */
  async function say(provider: RawWorker, error?: object): Promise<void> {
    const { id } = await provider.frame('registertrigger');
    const answer = { type: 'triggerregistrationresult', id, trigger_type: 'timer', function_id: 'f' };
    provider.send(error === undefined ? answer : { ...answer, error });
  }

  beforeEach(async () => {
    folder = await tempFolder();
    clock = new FakeClock();
    engine = await createEngine({
      cwd: folder.path,
      clock,
      logLevel: 'silent',
      config: {
        workers: [
          { name: 'iii-worker-manager', config: { port: 0 } },
          { name: 'iii-http', config: { port: 0 } },
        ],
      },
    });
    await engine.start();
    caller = await RawWorker.connect(engine.url);
  });
  afterEach(async () => {
    await engine.stop();
    await folder.remove();
  });

  it('outlives the worker that asked for it, and the same one again answers the same id', async () => {
    const input = { trigger_type: 'http', function_id: 'f', config: { api_path: '/a', http_method: 'GET' } };
    const first = await register(input);
    expect(await register({ ...input, config: { http_method: 'GET', api_path: '/a' } })).toEqual(first);
    expect(await register({ ...input, config: { api_path: '/b', http_method: 'GET' } })).not.toEqual(first);
    caller.drop();
    caller = await RawWorker.connect(engine.url);
    expect(await rows()).toMatchObject({ registered_triggers: [{}, {}] });
    const { id } = first as { id: string };
    expect(await caller.call('engine::unregister_trigger', { id })).toEqual({ removed: true });
    expect(await caller.call('engine::unregister_trigger', { id })).toEqual({ removed: false });
  });

  it('is refused in the words of its provider, a built-in one or a worker', async () => {
    await expect(register({ trigger_type: 'http', function_id: 'f', config: {} })).rejects.toMatchObject({
      code: 'trigger_registration_failed',
      message: 'api_path is required for http triggers',
    });
    const provider = await provide();
    const refused = register(timer);
    await say(provider, { code: 'trigger_registration_failed', message: 'bad cron' });
    await expect(refused).rejects.toMatchObject({
      code: 'trigger_registration_failed',
      message: 'trigger_registration_failed: bad cron',
    });
    expect(await rows()).toEqual({ registered_triggers: [] });
  });

  it('that was refused for another one in its place does not come up when that one leaves', async () => {
    const route = { trigger_type: 'http', config: { api_path: '/a/:x', http_method: 'GET' } };
    const { id } = (await register({ ...route, function_id: 'first' })) as { id: string };
    const rival = { ...route, function_id: 'second', config: { api_path: '/a/:y', http_method: 'GET' } };
    await expect(register(rival)).rejects.toMatchObject({ code: 'trigger_registration_failed' });
    await caller.call('engine::unregister_trigger', { id });
    expect(await rows()).toEqual({ registered_triggers: [] });
  });

  it('is answered when its provider has taken it, or has said nothing for a while', async () => {
    const provider = await provide();
    const taken = register(timer);
    await say(provider);
    expect(await taken).toEqual({ id: expect.any(String) as string });
    let answered = false;
    const silent = register({ ...timer, function_id: 'g' }).finally(() => (answered = true));
    await provider.frame('registertrigger', (frame) => frame['function_id'] === 'g');
    await provider.ask('nobody::here', null);
    expect(answered).toBe(false);
    await clock.advance(ANSWER_WAIT_MS);
    expect(await silent).toEqual({ id: expect.any(String) as string });
    await waitFor(async () => JSON.stringify(await rows()).includes('"g"'));
  });
});
