/** Links are made while the Python workers are away: what `subscribe` misses, and what nothing durable misses. */
import { join } from 'node:path';
import { waitFor } from '@trine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pythonWith } from '../support/python.js';
import type { WorkerProcess } from '../support/worker-process.js';
import { LinklyStack } from './stack.js';

const ANALYTICS = join(import.meta.dirname, '..', '..', 'apps', 'analytics', 'main.py');
const LEDGER = join(import.meta.dirname, 'fixtures', 'ledger.py');
/** A virtual environment may have to be made first, in milliseconds. */
const SETUP_TIMEOUT_MS = 150_000;

let linkly: LinklyStack;
let python: string;

async function startPythonWorkers(): Promise<WorkerProcess[]> {
  const workers = [ANALYTICS, LEDGER].map((file) => linkly.run(python, [file], linkly.folder.path));
  await linkly.bound('analytics::on_link_created');
  await linkly.bound('ledger::on_link_updated');
  return workers;
}

/** Makes a link and changes it. */
async function link(code: string): Promise<void> {
  expect((await linkly.create(code, `https://old.example/${code}`)).status).toBe(201);
  expect((await linkly.update(code, `https://new.example/${code}`)).status).toBe(200);
}

async function counted(): Promise<number> {
  const [row] = await linkly.query<{ n: number }>('SELECT SUM(count) AS n FROM daily_link_counts', 'analytics');
  return row?.n ?? 0;
}

async function ledger(): Promise<string[]> {
  const rows = await linkly.query<{ code: string; url: string }>('SELECT code, url FROM ledger', 'analytics');
  for (const { code, url } of rows) expect(url).toBe(`https://new.example/${code}`);
  return rows.map(({ code }) => code).sort();
}

beforeAll(async () => {
  python = await pythonWith(['iii-sdk>=0.18,<0.19']);
  linkly = await LinklyStack.start();
}, SETUP_TIMEOUT_MS);
afterAll(() => linkly?.stop());

describe('linkly - a Python worker that was away', () => {
  it('missed the events of the links made meanwhile, and no durable message', async () => {
    const workers = await startPythonWorkers();
    await link('a');
    await link('b');
    await waitFor(async () => (await counted()) === 2 && (await ledger()).length === 2, { what: 'both links' });

    await Promise.all(workers.map((each) => each.kill()));
    await linkly.bound('analytics::on_link_created', false);
    await linkly.bound('ledger::on_link_updated', false);
    await link('c');
    await link('d');
    await link('e');

    await startPythonWorkers();
    await waitFor(async () => (await ledger()).length === 5, { what: 'what was published meanwhile' });
    await link('f');
    await waitFor(async () => (await ledger()).length === 6 && (await counted()) >= 3, { what: 'the last link' });
    expect(await ledger()).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
    expect(await counted()).toBe(3);
  });
});
