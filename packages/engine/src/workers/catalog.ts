/**
 * Every built-in worker that this version has, and the names it knows but does not have yet.
 */
import { z } from 'zod';
import type { Catalog, CatalogEntry, ConfigurationSource } from '../config/index.js';
import type { WorkerDefinition } from '../core/worker-host.js';
import { workerManager, type WorkerManagerParts } from '../listener/index.js';
import { bridgeWorker } from './bridge/index.js';
import { configurationWorker } from './configuration/index.js';
import { httpWorker } from './http/index.js';
import { httpFunctionsWorker } from './http-functions/index.js';
import { databaseWorker } from './database/index.js';
import { observabilityWorker, type ObservabilityParts } from './observability/index.js';
import { pubsubWorker } from './pubsub/index.js';
import { queueWorker } from './queue/index.js';
import { stateWorker } from './state/index.js';
import { streamWorker } from './stream/index.js';

/** What some built-ins need of the engine they run in, beside their host. */
export interface CatalogParts {
  readonly workerPort: () => WorkerManagerParts;
  readonly configuration: () => ConfigurationSource;
  readonly observability: () => ObservabilityParts;
  /** Environment variables that registrations may name. */
  readonly env: () => NodeJS.ProcessEnv;
}

/** Built-ins by canonical name, in the order they start in. */
export function builtInWorkers(parts: CatalogParts): ReadonlyMap<string, WorkerDefinition> {
  const definitions = [
    observabilityWorker(parts.observability),
    configurationWorker(parts.configuration),
    stateWorker,
    databaseWorker,
    queueWorker,
    pubsubWorker,
    streamWorker,
    bridgeWorker,
    httpFunctionsWorker(() => ({ env: parts.env() })),
    httpWorker,
    workerManager(parts.workerPort),
  ];
  return new Map(definitions.map((definition) => [definition.name, definition]));
}

/** Always running, listed or not. */
export const ALWAYS_ON: ReadonlySet<string> = new Set(['observability', 'configuration', 'iii-worker-manager']);

/** Entries that are accepted and have nothing to start. */
const BARE: ReadonlyMap<string, z.ZodType> = new Map<string, z.ZodType>([
  ['iii-telemetry', z.unknown()], // a vendor's telemetry: this engine has none
  ['iii-engine-functions', z.undefined({ error: 'takes no configuration' })],
]);

/** Names of the reference that this version lacks. */
const NOT_BUILT: ReadonlySet<string> = new Set([
  'iii-cron',
  'cron',
  'iii-exec',
  'exec',
  'iii-sandbox',
  'sandbox',
  'iii-console',
  'console',
]);

/** The catalogue as `config/` needs it: names, schemas, defaults. */
export function catalogOf(workers: ReadonlyMap<string, WorkerDefinition>): Catalog {
  const byName = new Map<string, CatalogEntry>();
  for (const worker of workers.values()) {
    const { name, aliases, config: schema, defaultBlock } = worker;
    const validate = (config: unknown): void => worker.validate?.(config);
    const entry: CatalogEntry = {
      name,
      aliases,
      schema,
      validate,
      ...(defaultBlock === undefined ? {} : { defaultBlock }),
    };
    for (const spelling of [name, ...aliases]) byName.set(spelling, entry);
  }
  for (const [name, schema] of BARE) byName.set(name, { name, aliases: [], schema });
  return {
    find: (name) => byName.get(name),
    notBuilt: (name) => (NOT_BUILT.has(name) ? `worker '${name}' is not in this version` : undefined),
    names: () => [...byName.keys()],
  };
}

/** The catalogue for those who edit a project without an engine. */
export function staticCatalog(): Catalog {
  const absent = (): never => {
    throw new Error('this catalogue describes workers and starts none');
  };
  return catalogOf(builtInWorkers({ workerPort: absent, configuration: absent, observability: absent, env: absent }));
}
