import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, waitFor } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { launch, type Launched, type Stream } from './launch.js';
import { groupOf, groupWorks } from './process-group.js';

let folder: Awaited<ReturnType<typeof tempFolder>>;
const started: Launched[] = [];
beforeEach(async () => void (folder = await tempFolder()));
afterEach(async () => {
  await Promise.all(started.splice(0).map((each) => each.stop()));
  await folder.remove();
});

async function run(script: string): Promise<Launched & { readonly lines: [Stream, string][] }> {
  const lines: [Stream, string][] = [];
  const env = { PATH: process.env['PATH'] ?? '', HELLO: 'world' };
  const launched = await launch({
    script,
    cwd: folder.path,
    env,
    line: (stream, text) => void lines.push([stream, text]),
  });
  started.push(launched);
  return { ...launched, lines };
}

/** A node program that starts another one and tells both pids, then lives until it is ended. */
const FAMILY = `node -e "
  const child = require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
  console.log(process.pid + ' ' + child.pid);
  setInterval(() => {}, 1000);
"`;

describe('a launched script', () => {
  it('runs in its folder with its environment, and its lines are told in order', async () => {
    const launched = await run('pwd; echo $HELLO; echo bad >&2; printf unfinished; exit 3');
    expect(await launched.exited).toEqual({ code: 3, signal: undefined });
    expect(launched.lines.filter(([stream]) => stream === 'stdout').map(([, text]) => text)).toEqual([
      folder.path,
      'world',
      'unfinished',
    ]);
    expect(launched.lines).toContainEqual(['stderr', 'bad']);
  });

  it('ends at the first command that fails', async () => {
    const launched = await run('false\necho never');
    expect(await launched.exited).toEqual({ code: 1, signal: undefined });
    expect(launched.lines).toEqual([]);
  });

  it('cuts a line without end', async () => {
    const launched = await run(`node -e "process.stdout.write('x'.repeat(40000))"`);
    await launched.exited;
    expect(launched.lines.map(([, text]) => text.length)).toEqual([16384, 16384, 7232]);
  });

  it('is stopped with everything it started', async () => {
    const launched = await run(FAMILY);
    const [, pids] = await waitFor(() => launched.lines[0]);
    const [parent, child] = pids.split(' ').map(Number);
    expect(await groupOf(parent ?? 0)).toBe(launched.pid);
    expect(await groupOf(child ?? 0)).toBe(launched.pid);
    await launched.stop();
    await waitFor(async () => !(await groupWorks(launched.pid)));
  });

  it('has the grace to end by itself, although its shell ends at once', async () => {
    const launched = await run(`node -e "
      process.on('SIGTERM', () => setTimeout(() => { console.log('drained'); process.exit(0); }, 300));
      console.log('up'); setInterval(() => {}, 1000);
    "`);
    await waitFor(() => launched.lines.length === 1);
    await launched.stop();
    expect(launched.lines.map(([, text]) => text)).toEqual(['up', 'drained']);
  });

  it('is killed when it does not end in the grace', async () => {
    const launched = await run(`trap '' TERM; echo up; while true; do sleep 0.1; done`);
    await waitFor(() => launched.lines.length === 1);
    const before = performance.now();
    expect(await launched.stop()).toEqual({ code: undefined, signal: 'SIGKILL' });
    expect(performance.now() - before).toBeGreaterThan(2_500);
    await waitFor(async () => !(await groupWorks(launched.pid)));
  });

  it('leaves nothing behind when its shell ends by itself', async () => {
    const launched = await run(`node -e "setInterval(() => {}, 1000)" & echo started; exit 0`);
    expect(await launched.exited).toEqual({ code: 0, signal: undefined });
    await waitFor(async () => !(await groupWorks(launched.pid)));
  });

  it('ends when the process that launched it is killed', async () => {
    const program = join(folder.path, 'engine.mjs');
    const built = new URL('../../dist/supervisor/launch.js', import.meta.url).href;
    await writeFile(
      program,
      `import { launch } from ${JSON.stringify(built)};
       const script = 'node -e "console.log(process.pid); setInterval(() => {}, 1000)"';
       const launched = await launch({ script, cwd: ${JSON.stringify(folder.path)}, env: process.env, line: (_, text) => console.log(launched.pid + ' ' + text) });
       setInterval(() => {}, 1000);`,
    );
    const engine = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    engine.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const [group, pid] = (await waitFor(() => /^(\d+) (\d+)\n/.exec(output))).slice(1).map(Number);
    expect(await groupOf(pid ?? 0)).toBe(group);
    engine.kill('SIGKILL');
    await waitFor(async () => !(await groupWorks(group ?? 0)));
  });

  it('lets the process that launched it end by itself once it is stopped', async () => {
    const program = join(folder.path, 'engine.mjs');
    const built = new URL('../../dist/supervisor/launch.js', import.meta.url).href;
    await writeFile(
      program,
      `import { launch } from ${JSON.stringify(built)};
       const launched = await launch({ script: 'sleep 60', cwd: ${JSON.stringify(folder.path)}, env: process.env, line() {} });
       await launched.stop();
       const stoppedAt = performance.now();
       process.on('exit', () => process.exit(performance.now() - stoppedAt < 1500 ? 0 : 1));`,
    );
    const engine = spawn(process.execPath, [program], { stdio: 'ignore' });
    const code = await new Promise((resolve) => engine.once('exit', resolve));
    expect(code).toBe(0);
  });
});
