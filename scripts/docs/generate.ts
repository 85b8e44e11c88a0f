/**
 * `pnpm docs:reference`: writes docs/reference. It starts an engine with every built-in worker in an
 * empty folder and asks it for its functions, trigger types and configurations; error codes and bounds
 * come from the sources. With `--check` it writes nothing and names the pages that are out of date.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createEngine } from '@trine/engine';
import { staticCatalog } from '@trine/engine/config';
import { checkComplete, pages, type Facts, type FunctionInfo, type TriggerTypeInfo } from './pages.js';
import { withoutAdapters, type JsonSchema } from './schema-table.js';
import { bounds, engineLimits, errorCodes, listedCodes, readSources } from './source-facts.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TARGET = join(ROOT, 'docs/reference');

const PROJECT = `workers:
  - name: iii-worker-manager
    config:
      port: 0
  - name: iii-http
    config:
      port: 0
  - name: iii-observability
  - name: configuration
  - name: iii-state
  - name: database
  - name: iii-queue
  - name: iii-pubsub
  - name: iii-http-functions
  - name: iii-stream
    config:
      port: 0
  - name: iii-bridge
    config:
      url: ws://127.0.0.1:1
`;

const wanted = pages(await readFacts());
const present = new Map(
  readdirSync(TARGET, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => [name, readFileSync(join(TARGET, name), 'utf8')]),
);
const outdated = [...wanted.keys()].filter((name) => present.get(name) !== wanted.get(name));
const left = [...present.keys()].filter((name) => !wanted.has(name));

if (process.argv.includes('--check')) {
  for (const name of [...outdated, ...left])
    process.stdout.write(`docs/reference/${name} is out of date: pnpm docs:reference\n`);
  process.exitCode = outdated.length + left.length === 0 ? 0 : 1;
} else {
  mkdirSync(TARGET, { recursive: true });
  for (const name of outdated) writeFileSync(join(TARGET, name), wanted.get(name) ?? '');
  for (const name of left) rmSync(join(TARGET, name));
  process.stdout.write(`docs/reference: ${outdated.length} written, ${left.length} removed, ${wanted.size} pages\n`);
}

async function readFacts(): Promise<Facts> {
  const cwd = mkdtempSync(join(tmpdir(), 'trine-docs-reference-'));
  writeFileSync(join(cwd, 'config.yaml'), PROJECT);
  const engine = await createEngine({ cwd, logLevel: 'error' });
  try {
    await engine.start();
    const worker = engine.worker('reference');
    const ask = <T>(function_id: string, payload: unknown): Promise<T> => worker.trigger({ function_id, payload });

    const functions: FunctionInfo[] = [];
    const list = await ask<{ functions: FunctionInfo[] }>('engine::functions::list', {
      include_internal: true,
    });
    for (const { function_id } of list.functions)
      if (!function_id.startsWith('iii-database::'))
        functions.push(await ask('engine::functions::info', { function_id }));
    const triggerTypes: TriggerTypeInfo[] = [];
    const types = await ask<{ triggers: { id: string }[] }>('engine::triggers::list', {});
    for (const { id } of types.triggers) triggerTypes.push(await ask('engine::triggers::info', { id }));
    const { configurations } = await ask<{ configurations: { id: string; schema: JsonSchema }[] }>(
      'configuration::list',
      {},
    );

    const sources = readSources(ROOT);
    const facts: Facts = {
      configurations: new Map(configurations.map(({ id, schema }) => [id, withoutAdapters(schema, refusedBy(id))])),
      functions,
      triggerTypes,
      errors: [...errorCodes(sources), ...listedCodes(sources)],
      bounds: bounds(sources),
      limits: engineLimits(sources),
    };
    checkComplete(facts);
    return facts;
  } finally {
    await engine.stop();
    rmSync(cwd, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Which adapters a worker knows by name and does not have. */
function refusedBy(worker: string): (adapter: string) => boolean {
  const entry = staticCatalog().find(worker);
  return (name) => {
    try {
      entry?.validate?.({ adapter: { name } });
      return false;
    } catch {
      return true;
    }
  };
}
