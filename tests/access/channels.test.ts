/** Where the key of a channel counts: at the listener that made it, and where no rules hold. */
import { RawChannel, RawWorker, type RawChannelRef } from '@trine/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { accessBed, knock, settled, type AccessBed } from './bed.js';

const OPEN = { rbac: { expose_functions: ['match("*")'] } };

let bed: AccessBed;
let asked = 0;
/** A third listener, with rules of its own. */
let other: string;

beforeEach(async () => {
  asked = 0;
  bed = await accessBed(
    { rbac: { ...OPEN.rbac, auth_function_id: 'door::auth' } },
    {
      workers: [
        { name: 'iii-worker-manager', config: { port: 0, ...OPEN } },
        { name: 'http', config: { host: '127.0.0.1', port: 0 } },
      ],
    },
  );
  other = `ws://127.0.0.1:${bed.engine.ports['iii-worker-manager#2']}`;
  const keeper = await RawWorker.connect(bed.trusted);
  keeper.serve('door::auth', () => {
    asked++;
    return {};
  });
  await settled(keeper);
});
afterEach(() => bed.stop());

type Made = Record<'writer' | 'reader', RawChannelRef>;

async function madeAt(url: string): Promise<Made> {
  return (await (await RawWorker.connect(url)).call('engine::channels::create', {})) as Made;
}

function address(url: string, ref: RawChannelRef): string {
  return `${url}/ws/channels/${ref.channel_id}?key=${ref.access_key}&dir=${ref.direction}`;
}

async function carries(writerUrl: string, readerUrl: string, { writer, reader }: Made): Promise<void> {
  const [from, to] = [await RawChannel.open(writerUrl, writer), await RawChannel.open(readerUrl, reader)];
  from.send('through');
  from.close();
  expect([await to.closed(), to.messages]).toEqual([[1005, ''], ['through']]);
}

it('a key from a listener without rules opens nothing behind rules, and says why', async () => {
  const made = await madeAt(bed.trusted);
  for (const url of [bed.guarded, other])
    for (const ref of [made.writer, made.reader]) expect((await knock(address(url, ref))).end).toContain('403');
  expect(bed.log()).toContain('channel refused: it was made through another listener');
  expect(bed.log()).not.toContain(made.reader.access_key);
  // Neither end was taken by that.
  await carries(bed.trusted, bed.trusted, made);
});

it('a key from a listener with rules opens there, unasked, and where no rules hold', async () => {
  const here = await madeAt(bed.guarded);
  const askedBefore = asked;
  await carries(bed.guarded, bed.guarded, here);
  expect(asked).toBe(askedBefore);
  await carries(bed.guarded, bed.trusted, await madeAt(bed.guarded));
  await carries(bed.trusted, bed.guarded, await madeAt(bed.guarded));
});

it('a key from a listener with rules opens nothing behind other rules', async () => {
  const made = await madeAt(bed.guarded);
  expect((await knock(address(other, made.reader))).end).toContain('403');
  await carries(bed.guarded, bed.guarded, made);
});

it('the body of a request can be read behind rules: the engine made that channel', async () => {
  const handler = await RawWorker.connect(bed.guarded);
  let body: Buffer | undefined;
  handler.serve('upload', async (data) => {
    const to = await RawChannel.open(bed.guarded, (data as { request_body: RawChannelRef }).request_body);
    await to.closed();
    body = to.binary;
    return { status_code: 200, body: 'read' };
  });
  const config = { api_path: 'upload', http_method: 'POST' };
  handler.send({ type: 'registertrigger', id: 'upload', trigger_type: 'http', function_id: 'upload', config });
  await settled(handler);
  const answer = await fetch(`http://127.0.0.1:${bed.engine.ports['http']}/upload`, {
    method: 'POST',
    headers: { 'content-type': 'application/octet-stream' },
    body: 'to be read',
  });
  expect([answer.status, body?.toString()]).toEqual([200, 'to be read']);
});
