import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadDriver } from './driver.js';

const PURPOSE = 'the redis adapter of queue';
let project: TempFolder;

beforeEach(async () => {
  project = await tempFolder();
});

afterEach(() => project.remove());

async function install(name: string, text: string): Promise<void> {
  const folder = join(project.path, 'node_modules', name);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name, version: '1.0.0', main: 'index.js' }));
  await writeFile(join(folder, 'index.js'), text);
}

describe('the driver of a server', () => {
  it('that is missing is an error that says who needs it, what to install, and where', async () => {
    await expect(loadDriver('trine-no-such-driver', '^6.0.0', PURPOSE, project.path)).rejects.toThrow(
      `${PURPOSE} needs the package 'trine-no-such-driver', which is not installed: ` +
        `run npm install 'trine-no-such-driver@^6.0.0' in ${project.path}`,
    );
  });

  it('is that of the engine where the project has none', async () => {
    expect(await loadDriver('ioredis', '^6.0.0', PURPOSE, project.path)).toHaveProperty('Redis');
  });

  it("is the project's own before that of the engine", async () => {
    await install('ioredis', "exports.from = 'the project';");
    expect(await loadDriver('ioredis', '^6.0.0', PURPOSE, project.path)).toMatchObject({ from: 'the project' });
  });

  it('that is broken says what is wrong with it, not that it is missing', async () => {
    await install('trine-broken-driver', "throw new Error('no build for this platform');");
    await expect(loadDriver('trine-broken-driver', '^1.0.0', PURPOSE, project.path)).rejects.toThrow(
      'no build for this platform',
    );
  });
});
