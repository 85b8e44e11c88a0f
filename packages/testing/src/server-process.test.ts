import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { waitFor } from './wait-for.js';

const run = promisify(execFile);

/** A test that starts a server with a child and ends without stopping it. */
const CARELESS = `
  import { ServerProcess, waitFor } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
  const words = ['-c', 'sleep 300 & echo $$ $!; wait'];
  const server = await ServerProcess.start({ command: 'sh', words, cwd: '/', ready: async () => true });
  await waitFor(() => server.output.includes('\\n'));
  console.log(server.output);
  process.exit(0);
`;

it('leaves no server behind when the process that started it ends', async () => {
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', CARELESS]);
  const pids = stdout.trim().split(' ').map(Number);
  expect(pids).toHaveLength(2);
  for (const pid of pids) await waitFor(() => !isAlive(pid), { timeoutMs: 5_000, what: `process ${pid} to end` });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
