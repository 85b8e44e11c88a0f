/** Runs seeds in several processes at once. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const RUN = fileURLToPath(new URL('./run.ts', import.meta.url));

export interface Shards {
  readonly processes: number;
  readonly seeds: number;
  readonly seconds: number;
}

/** @returns how many seeds ran, whether all kept their promises, and what each process said */
export async function simulateInShards({
  processes,
  seeds,
  seconds,
}: Shards): Promise<{ readonly ran: number; readonly isSound: boolean; readonly text: string }> {
  const each = Math.ceil(seeds / processes);
  const shards = await Promise.all(
    Array.from({ length: processes }, (_, i) =>
      run(['--seeds', String(each), '--seconds', String(seconds), '--from', String(1 + i * each)]),
    ),
  );
  const text = shards.map((shard) => shard.text).join('\n');
  const ran = [...text.matchAll(/simulation: (\d+) seeds/g)].reduce((sum, [, count]) => sum + Number(count), 0);
  return { ran, isSound: shards.every(({ status }) => status === 0), text };
}

function run(args: readonly string[]): Promise<{ readonly status: number | null; readonly text: string }> {
  const { TRINE_SEED: _one, ...env } = process.env;
  const child = spawn(process.execPath, ['--import', 'tsx', RUN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return new Promise((done, failed) => {
    child.once('error', failed);
    child.once('close', (status) => done({ status, text: text.trim() }));
  });
}
