import { readFileSync } from 'node:fs';

/** Version of the command, from its package. */
export const CLI_VERSION: string = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version;
