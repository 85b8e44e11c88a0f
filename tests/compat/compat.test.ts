/**
 * Official SDKs of every generation, unmodified, each going through all that it knows; and the page that
 * tells of it. `pnpm test:compat` runs this and writes the page; any other run compares.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { absence } from './absences.js';
import { CLIENTS, type Client } from './clients.js';
import { runCompat, type Cells } from './compat-run.js';
import { FEATURES } from './features/index.js';
import { matrix, shownIn, withPart, type Part } from './matrix.js';
import { ON_DEMAND_CLIENTS } from './on-demand.js';

const PAGE = join(import.meta.dirname, '..', '..', 'docs', 'compatibility.md');
/** All of it, virtual environments included, in milliseconds. */
const RUN_TIMEOUT_MS = 360_000;
/** The same with clients that have to be compiled first, in milliseconds. */
const ALL_TIMEOUT_MS = 1_800_000;

const isWriting = process.env['TRINE_COMPAT_WRITE'] === '1';
const isAll = process.env['TRINE_COMPAT_ALL'] === '1';
const part: Part = isAll ? 'on demand' : 'each run';
/** For work on the features themselves. */
const only = process.env['TRINE_COMPAT_ONLY'];
const features = FEATURES.filter(({ id }) => only === undefined || id.startsWith(only));
const clients: readonly Client[] = isAll ? ON_DEMAND_CLIENTS : CLIENTS;

let cells: Cells;

beforeAll(
  async () => {
    cells = await runCompat(clients, features);
    if (isWriting && only === undefined) await writeFile(PAGE, await page());
  },
  isAll ? ALL_TIMEOUT_MS : RUN_TIMEOUT_MS,
);

async function page(): Promise<string> {
  return withPart(await readFile(PAGE, 'utf8'), part, matrix(clients, features, cells));
}

describe.each(clients.map((client) => [client.title, client] as const))('compat - %s', (_title, client) => {
  const known = features.filter(({ id }) => absence(client, id) === undefined);
  it.each(known.map(({ title, id }) => [title, id] as const))('%s', (_featureTitle, id) => {
    const cell = cells.get(client.name)?.get(id);
    if (cell?.state === 'failed') throw cell.error;
    expect(cell?.state).toBe('passed');
  });
});

it.skipIf(only !== undefined)(
  'docs/compatibility.md tells what this run has shown; `pnpm test:compat` writes it',
  async () => {
    expect(await readFile(PAGE, 'utf8')).toBe(await page());
  },
);

it.each([
  ['each run', CLIENTS],
  ['on demand', ON_DEMAND_CLIENTS],
] as const)('docs/compatibility.md is up to date about who is tried with what: %s', async (each, expected) => {
  expect(shownIn(await readFile(PAGE, 'utf8'), each)).toEqual({
    clients: expected.map(({ title }) => title),
    features: FEATURES.map(({ title }) => title),
  });
});
