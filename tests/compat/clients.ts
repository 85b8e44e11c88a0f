import { join } from 'node:path';
import semver from 'semver';
import { pythonWith } from '../support/python.js';

/** An official SDK at one version, unmodified. */
export interface Client {
  /** Of the process and of its worker. */
  readonly name: string;
  readonly title: string;
  readonly language: Language;
  readonly version: string;
  /** Sets up what it needs and is not there yet. */
  prepare?(): Promise<void>;
  /** What to run, without the name and the address that every driver is given. */
  command(): Promise<readonly string[]>;
}

export type Language = 'node' | 'python' | 'rust' | 'go';

const DRIVERS = join(import.meta.dirname, 'clients');

const node = (packageName: string, version: string): Client => ({
  name: `node-${version}`,
  title: `npm ${version}`,
  language: 'node',
  version,
  command: async () => [process.execPath, join(DRIVERS, 'node', 'driver.mjs'), packageName],
});

const python = (version: string): Client => ({
  name: `python-${version}`,
  title: `PyPI ${version}`,
  language: 'python',
  version,
  command: async () => [await pythonWith([`iii-sdk==${version}`]), join(DRIVERS, 'python', 'driver.py')],
});

/** Those of every run. Neighbours work with each other, so languages and generations alternate. */
export const CLIENTS: readonly Client[] = [
  node('iii-sdk-0.11.2', '0.11.2'),
  python('0.11.6'),
  node('iii-sdk-0.11', '0.11.6'),
  python('0.18.0'),
  node('iii-sdk-0.22', '0.22.1'),
  python('0.22.1'),
  python('0.25.0'),
];

/** Is this a client of one of these languages, at this version or a later one? */
export function isSince(client: Client, since: Partial<Record<Language, string>>): boolean {
  const version = since[client.language];
  return version !== undefined && semver.gte(client.version, version);
}

/** Metadata of calls came with one version of all. */
export const METADATA_SINCE = { node: '0.21.0', python: '0.21.0', rust: '0.21.0', go: '0.21.0' } as const;
