/**
 * Start to listening: the time from spawning a process to the first connection its worker socket
 * accepts, and its memory once it has nothing to do. The engine is the whole command with its usual
 * built-ins on an empty folder, as a user starts it; the floor is a bare Node server.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from './measure.js';
import { rssBytes, stopChild } from './target.js';

export interface StartUpResult {
  readonly floor: StartUpSide;
  readonly engine: StartUpSide;
}

export interface StartUpSide {
  /** Median over the rounds. */
  readonly listeningMs: number;
  readonly rssIdleBytes: number;
}

type Side = 'floor' | 'engine';

const DEADLINE_MS = 30_000;
const POLL_MS = 1;
/** Long enough for what a process does just after its start to be over. */
const IDLE_AFTER_MS = 3_000;

const COMMAND = fileURLToPath(new URL('../../cli/dist/main.js', import.meta.url));
const FLOOR = fileURLToPath(new URL('./floor-process.js', import.meta.url));

export async function measureStartUp(rounds: number): Promise<StartUpResult> {
  const measured: Record<Side, { ms: number[]; rss: number[] }> = {
    floor: { ms: [], rss: [] },
    engine: { ms: [], rss: [] },
  };
  for (let round = 0; round < rounds; round++) {
    for (const side of ['floor', 'engine'] as const) {
      const { ms, rss } = await once(side);
      measured[side].ms.push(ms);
      measured[side].rss.push(rss);
    }
  }
  const result = (side: Side): StartUpSide => ({
    listeningMs: median(measured[side].ms),
    rssIdleBytes: median(measured[side].rss),
  });
  return { floor: result('floor'), engine: result('engine') };
}

async function once(side: Side): Promise<{ ms: number; rss: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'trine-bench-start-'));
  const port = await freePort();
  writeFileSync(join(folder, 'config.yaml'), configText(port));
  const args = side === 'floor' ? [FLOOR, 'forwarder', String(port)] : [COMMAND, '-c', 'config.yaml'];
  const from = performance.now();
  const child = spawn(process.execPath, args, { cwd: folder, stdio: 'ignore' });
  try {
    await untilAccepted(port, child);
    const ms = performance.now() - from;
    await pause(IDLE_AFTER_MS);
    return { ms, rss: rssBytes(child.pid ?? 0) };
  } finally {
    await stopChild(child);
    rmSync(folder, { recursive: true, force: true });
  }
}

function configText(port: number): string {
  return `workers:
  - name: iii-worker-manager
    config: { host: 127.0.0.1, port: ${port} }
  - name: iii-http
    config: { host: 127.0.0.1, port: 0 }
  - name: iii-state
  - name: iii-queue
  - name: iii-pubsub
  - name: database
    config: { databases: { primary: { url: 'sqlite:./data/iii.db' } } }
`;
}

async function untilAccepted(port: number, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!(await accepts(port))) {
    if (child.exitCode !== null) throw new Error(`the process ended with ${child.exitCode} before it listened`);
    if (performance.now() > deadline) throw new Error(`nothing listened within ${DEADLINE_MS} ms`);
    await pause(POLL_MS);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        if (address === null || typeof address === 'string') reject(new Error('no free port'));
        else resolve(address.port);
      });
    });
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
