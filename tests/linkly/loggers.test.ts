/** What workers say through the Loggers of their SDKs, between the lines of the real engine. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineProcess, freePort } from '../support/engine-process.js';
import { pythonWith } from '../support/python.js';

const FIXTURES = join(import.meta.dirname, 'fixtures');
/** A virtual environment may have to be made first, in milliseconds. */
const SETUP_TIMEOUT_MS = 150_000;
/** The SDKs send a record at a time, ten in a second, in milliseconds. */
const LOGGED_TIMEOUT_MS = 40_000;
const TIME = String.raw`\[\d\d:\d\d:\d\d\.\d{3} [AP]M\]`;

let folder: TempFolder;
let engine: EngineProcess;
let port: number;

beforeAll(async () => {
  folder = await tempFolder('trine-loggers-');
  const python = await pythonWith(['iii-sdk>=0.18,<0.19']);
  const logger = (version: string, name: string): string =>
    `'${process.execPath}' '${join(FIXTURES, 'logger.js')}' ${version} ${name}`;
  const starts = {
    'node-old': logger('0.11', 'node-old'),
    'node-young': logger('0.22', 'node-young'),
    python: `'${python}' '${join(FIXTURES, 'logger.py')}' python`,
  };
  port = await freePort();
  const config = ['workers:', '  - name: iii-worker-manager', '    config:', `      port: ${port}`];
  for (const [name, start] of Object.entries(starts)) {
    await mkdir(join(folder.path, name));
    await writeFile(
      join(folder.path, name, 'iii.worker.yaml'),
      `name: ${name}\nscripts:\n  start: ${JSON.stringify(start)}\n`,
    );
    config.push(`  - name: ${name}`, `    worker_path: ./${name}`);
  }
  await writeFile(join(folder.path, 'config.yaml'), `${config.join('\n')}\n`);
  engine = await EngineProcess.start({ cwd: folder.path, port, env: { OTEL_ENABLED: '', NO_COLOR: '1' } });
}, SETUP_TIMEOUT_MS);

afterAll(async () => {
  await engine?.stop();
  await folder?.remove();
});

/** Waits for an entry of a worker. */
async function logged(entry: string): Promise<void> {
  const pattern = new RegExp(`^${TIME} ${entry}`, 'm');
  await waitFor(() => pattern.test(engine.output), { timeoutMs: LOGGED_TIMEOUT_MS }).catch(() => {
    throw new Error(`no entry like ${String(pattern)} in\n${engine.output}`);
  });
}

describe.each(['node-old', 'node-young', 'python'])('linkly - the Logger of %s', (name) => {
  it('is heard with worker, level, message and fields', async () => {
    await logged(
      String.raw`\[INFO\] ${name} link made
    ├ code: "abc"
    ├ tags:
        ├ 0: "new"
        └ 1: 7
    └ owner:
        ├ id: 3
        └ admin: false
`,
    );
    await logged(String.raw`\[WARN\] ${name} cache cold
    └ misses: 2.5
`);
    await logged(String.raw`\[ERROR\] ${name} no such link
(?!\s)`);
  });

  it('is not heard below the level of the log', async () => {
    await logged(String.raw`\[ERROR\] ${name} no such link`);
    expect(engine.output).not.toContain('not for everybody');
  });

  it('tells inside a function which trace it belongs to', async () => {
    const caller = await RawWorker.connect(`ws://127.0.0.1:${port}`);
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
    const answer = await waitFor(async () => {
      const frame = await caller.ask(
        `${name}::visit`,
        { code: name },
        {
          traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
        },
      );
      return frame['error'] === undefined ? frame : undefined;
    });
    expect(answer['type']).toBe('invocationresult');
    await logged(String.raw`\[INFO\] ${name} visited
    ├ code: "${name}"
    └ trace_id: "${traceId}"
`);
    await caller.close();
  });
});
