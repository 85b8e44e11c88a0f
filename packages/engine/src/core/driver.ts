/**
 * Drivers of servers (Redis, RabbitMQ, PostgreSQL) are optional peers: nobody installs one that does
 * not name such a server, and each project has its own version.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/**
 * Loads a driver from the project's packages, else from those of the engine.
 *
 * @param name - the package, e.g. `ioredis`
 * @param version - the range that was tested, for the message, e.g. `^6.0.0`
 * @param purpose - who needs it, e.g. `the redis adapter of queue`
 * @param projectDir - the project folder
 * @throws Error that says what to install and where
 * @example
 * const { Redis } = await loadDriver<typeof import('ioredis')>('ioredis', '^6.0.0', 'the redis adapter of queue', dir);
 */
export async function loadDriver<Module>(
  name: string,
  version: string,
  purpose: string,
  projectDir: string,
): Promise<Module> {
  for (const from of [join(projectDir, 'package.json'), import.meta.url]) {
    let path: string;
    try {
      path = createRequire(from).resolve(name);
    } catch {
      continue;
    }
    return (await import(pathToFileURL(path).href)) as Module;
  }
  throw new Error(
    `${purpose} needs the package '${name}', which is not installed: run npm install '${name}@${version}' in ${projectDir}`,
  );
}
