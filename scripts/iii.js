/**
 * `pnpm iii ...` and `pnpm dev`: builds what has changed, then runs the command in this terminal.
 *
 * Ctrl-C goes to every process of the terminal's foreground group, this one too. It stays until the
 * command has stopped its workers and freed its ports, and ends as the command ended.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { build } from './build.js';
import { ROOT } from './root.js';

await build();

const main = join(ROOT, 'packages/cli/dist/main.js');
const child = spawn(process.execPath, [main, ...process.argv.slice(2)], { cwd: ROOT, stdio: 'inherit' });

// The terminal has told the command already; a signal sent to this process alone is handed on.
process.on('SIGINT', () => undefined);
for (const signal of /** @type {const} */ (['SIGTERM', 'SIGHUP'])) process.on(signal, () => child.kill(signal));

child.on('exit', (code, signal) => {
  process.exitCode = signal === null ? (code ?? 1) : 128 + constants.signals[signal];
});
