import { readFileSync } from 'node:fs';

/** Version of this engine, from its package. */
export const ENGINE_VERSION: string = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version;
