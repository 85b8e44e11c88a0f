/**
 * Memory of an engine with many idle workers: each on a socket of its own, described, with one
 * function. The load program holds the other ends.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type CorkedSocket } from './corked-socket.js';
import { Target } from './target.js';
import { callFrame, invocationId, kindOf, registerFunctionFrame } from './wire.js';

export const IDLE_WORKERS = 10_000;
/** Most resident memory with all of them, in MiB. */
export const IDLE_TARGET_MIB = 450;

export interface IdleResult {
  readonly workers: number;
  readonly rssEmptyBytes: number;
  readonly rssBytes: number;
}

/** Sockets that connect at once. */
const CONNECT_AT_ONCE = 200;
/** Long enough for garbage of the connecting to be collected. */
const QUIET_MS = 5_000;

export async function measureIdle(): Promise<IdleResult> {
  const cwd = mkdtempSync(join(tmpdir(), 'trine-bench-idle-'));
  const config = { workers: [{ name: 'iii-worker-manager', config: { host: '127.0.0.1', port: 0 } }] };
  const target = await Target.start({ entry: './engine-process.js', args: [JSON.stringify(config)], cwd });
  const sockets: CorkedSocket[] = [];
  try {
    const rssEmptyBytes = target.rssBytes();
    while (sockets.length < IDLE_WORKERS) {
      const first = sockets.length;
      const count = Math.min(CONNECT_AT_ONCE, IDLE_WORKERS - first);
      sockets.push(...(await Promise.all(Array.from({ length: count }, (_, i) => idleWorker(target.url, first + i)))));
    }
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    return { workers: sockets.length, rssEmptyBytes, rssBytes: target.rssBytes() };
  } finally {
    for (const socket of sockets) void socket.close();
    await target.stop();
    rmSync(cwd, { recursive: true, force: true });
  }
}

/** Resolves when the engine has answered, so that all before it was handled. */
async function idleWorker(url: string, number: number): Promise<CorkedSocket> {
  let answered: () => void = () => undefined;
  const done = new Promise<void>((resolve) => (answered = resolve));
  const socket = await connect(url, (frame) => {
    if (kindOf(frame) === 'invocationresult') answered();
  });
  socket.send(registerFunctionFrame(`idle::${number}`));
  const info = JSON.stringify({ runtime: 'node', version: '0.22.1', name: `idle-${number}`, os: 'linux', pid: number });
  socket.send(callFrame(invocationId(0), 'engine::workers::register', info));
  await done;
  return socket;
}
