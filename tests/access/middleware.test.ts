/** The middleware of a listener: it answers every call, and makes it or not. */
import { RawWorker, waitFor } from '@trine/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { accessBed, settled, type AccessBed } from './bed.js';

let bed: AccessBed;
afterEach(() => bed.stop());

interface Input {
  readonly function_id: string;
  readonly payload: unknown;
  readonly action: unknown;
  readonly context: unknown;
  readonly namespace: string;
}

let middle: RawWorker;
let inputs: Input[];
let metadata: unknown;

async function start(middleware: (input: Input) => unknown, config: object = {}): Promise<RawWorker> {
  bed = await accessBed(
    { middleware_function_id: 'mw', middleware_timeout_ms: 300, ...config },
    {
      workers: [{ name: 'iii-queue' }],
    },
  );
  middle = await RawWorker.connect(bed.trusted);
  inputs = [];
  middle.serve('mw', (data, frame) => {
    inputs.push(data as Input);
    metadata = frame['metadata'];
    return middleware(data as Input);
  });
  middle.serve('door::auth', () => ({ context: { user: 1 }, allowed_functions: ['target'] }));
  await settled(middle);
  return RawWorker.connect(bed.guarded);
}

describe('a middleware', () => {
  it('gets the call with its context and answers it; the target runs only if it says so', async () => {
    let ran = 0;
    const worker = await start(
      async ({ function_id, payload }) => ({ from: await middle.call(function_id, payload) }),
      {
        rbac: { auth_function_id: 'door::auth' },
      },
    );
    middle.serve('target', () => ++ran);
    await settled(middle);
    const answer = await worker.ask('target', { a: 1 }, { metadata: { m: 1 }, traceparent: '00-ab-cd-01' });
    expect(answer).toMatchObject({ function_id: 'target', result: { from: 1 }, traceparent: '00-ab-cd-01' });
    expect(inputs).toEqual([
      { function_id: 'target', payload: { a: 1 }, action: null, context: { user: 1 }, namespace: 'default' },
    ]);
    expect(metadata).toEqual({ m: 1 });
    expect(ran).toBe(1);
    await expect(worker.call('other', {})).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(inputs).toHaveLength(1);
  });

  it('stands before void calls and enqueues too', async () => {
    let ran = 0;
    const worker = await start(() => ({ accepted: true }));
    middle.serve('target', () => ++ran);
    await settled(middle);
    worker.send({ type: 'invokefunction', function_id: 'target', data: 1, action: { type: 'void' } });
    await waitFor(() => inputs.length === 1);
    const action = { type: 'enqueue', queue: 'default' };
    await expect(worker.call('target', 2, { action })).resolves.toEqual({ accepted: true });
    expect(inputs).toEqual([
      { function_id: 'target', payload: 1, action: { type: 'void' }, context: {}, namespace: 'default' },
      { function_id: 'target', payload: 2, action, context: {}, namespace: 'default' },
    ]);
    await worker.call('engine::queue::enqueue', { queue: 'default', function_id: 'target', data: {} });
    expect(inputs[2]).toMatchObject({ function_id: 'engine::queue::enqueue' });
    expect(ran).toBe(0);
  });

  it('does not stand before what the engine serves itself', async () => {
    const worker = await start(() => 'middleware');
    await expect(worker.call('engine::workers::register', { name: 'w' })).resolves.toEqual({ success: true });
    await expect(worker.call('engine::functions::list', {})).resolves.toHaveProperty('functions');
    await expect(worker.call('engine::not::there', {})).resolves.toBe('middleware');
    expect(inputs.map(({ function_id }) => function_id)).toEqual(['engine::not::there']);
  });

  it('that throws, is late or is missing means no call', async () => {
    let ran = 0;
    let answer: () => unknown = () => {
      throw new Error('not today');
    };
    const worker = await start(() => answer());
    middle.serve('target', () => ++ran);
    await settled(middle);
    await expect(worker.call('target', {})).rejects.toMatchObject({ code: 'invocation_failed', message: 'not today' });
    answer = () => new Promise(() => undefined);
    await expect(worker.call('target', {})).rejects.toMatchObject({ code: 'invocation_timeout' });
    middle.send({ type: 'unregisterfunction', id: 'mw' });
    await settled(middle);
    await expect(worker.call('target', {})).rejects.toMatchObject({
      message: "function 'target' not called: its middleware mw is not registered",
    });
    expect(ran).toBe(0);
  });

  it('served by the caller’s own connection is refused instead of running in circles', async () => {
    bed = await accessBed({ middleware_function_id: 'own::mw' });
    const worker = await RawWorker.connect(bed.guarded);
    let ran = 0;
    worker.serve('own::mw', () => ++ran);
    worker.serve('own::target', () => ++ran);
    await worker.call('engine::workers::register', { name: 'w' });
    await expect(worker.call('own::target', {})).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: expect.stringContaining('same connection') as string,
    });
    expect(ran).toBe(0);
  });
});
