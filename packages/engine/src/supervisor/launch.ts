/**
 * Starts shell text as a process group of its own that cannot outlive the engine: a guard in the
 * group waits for the end of a pipe that only the engine holds. However the engine ends, SIGKILL
 * included, the kernel closes the pipe, and the guard ends the group.
 */
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { GUARD_NAME, signalGroup } from './process-group.js';

/** How long a group may take to end after SIGTERM before SIGKILL, in milliseconds. */
export const STOP_GRACE_MS = 3_000;

/** How long the output of a group that is gone may stay open, in milliseconds. */
const DAEMON_GRACE_MS = 500;

/**
 * $1 = the script. The guard lets go of the output, so that its end is the end of the script's
 * processes, and ignores the signals that it sends to its own group.
 */
const GUARDED = `
(
  trap '' HUP INT TERM
  exec >/dev/null 2>&1
  read -r line <&3
  kill -s TERM 0
  sleep ${STOP_GRACE_MS / 1000}
  kill -s KILL 0
) &
exec 3<&-
exec /bin/sh -e -c "$1"
`;

/** Longest line of output that is kept whole, in characters; the rest of it follows as another line. */
const MAX_LINE_CHARS = 16_384;

export type Stream = 'stdout' | 'stderr';

export interface LaunchOptions {
  readonly script: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Called for each line that the script's processes print, without its line end. */
  line(stream: Stream, text: string): void;
}

export interface Exit {
  /** Undefined when a signal ended the script's shell. */
  readonly code: number | undefined;
  readonly signal: string | undefined;
}

export interface Launched {
  /** The leader's pid, which is the group's number too. */
  readonly pid: number;
  /** Resolves when the script's shell has ended, what it left behind in its group is gone, and the last line was told. */
  readonly exited: Promise<Exit>;
  /** SIGTERM to the group, SIGKILL to what is left after the grace. Resolves with `exited`. */
  stop(): Promise<Exit>;
}

/** @throws Error when no process could be made at all (no such folder, out of processes) */
export async function launch(options: LaunchOptions): Promise<Launched> {
  const child = spawn('/bin/sh', ['-c', GUARDED, GUARD_NAME, options.script], {
    cwd: options.cwd,
    env: { ...options.env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  const pid = child.pid;
  if (pid === undefined) throw new Error('a process that was started has no pid');
  child.on('error', () => undefined);
  // Writing end of the guard's pipe: never written, closed by the end of the group or of the engine.
  child.stdio[3]?.on('error', () => undefined);
  const flushers = [
    eachLine(child.stdout, (text) => options.line('stdout', text)),
    eachLine(child.stderr, (text) => options.line('stderr', text)),
  ];

  let stopping: Promise<Exit> | undefined;
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  // The three streams end with the script's processes, the guard's pipe with the group: so the group
  // is told to end as soon as its leader did, or, when it is being stopped, once its output is done.
  const output = Promise.all(flushers);
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => {
      void (async () => {
        if (stopping !== undefined) await Promise.race([output, grace(STOP_GRACE_MS)]);
        signalGroup(pid, 'SIGKILL');
        // A process that left the group on purpose (a daemon) may hold the pipes for ever: let go of them.
        await Promise.race([output, grace(DAEMON_GRACE_MS)]);
        for (const stream of child.stdio) stream?.destroy();
        await output;
        await closed;
        resolve({ code: code ?? undefined, signal: signal ?? undefined });
      })();
    });
  });

  return {
    pid,
    exited,
    stop() {
      stopping ??= (async () => {
        signalGroup(pid, 'SIGTERM');
        // Real time, whatever clock the engine has: the process does not live in simulated time.
        const abandon = new AbortController();
        void sleep(STOP_GRACE_MS, undefined, { signal: abandon.signal }).then(
          () => signalGroup(pid, 'SIGKILL'),
          () => undefined,
        );
        const exit = await exited;
        abandon.abort();
        return exit;
      })();
      return stopping;
    },
  };
}

/** Resolves after the stream's end, when its last line was told. */
function eachLine(stream: Readable | null, line: (text: string) => void): Promise<void> {
  if (stream === null) return Promise.resolve();
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) line(part.endsWith('\r') ? part.slice(0, -1) : part);
    while (rest.length > MAX_LINE_CHARS) {
      line(rest.slice(0, MAX_LINE_CHARS));
      rest = rest.slice(MAX_LINE_CHARS);
    }
  });
  return new Promise((resolve) => {
    stream.on('error', () => undefined);
    stream.once('close', () => {
      if (rest !== '') line(rest);
      resolve();
    });
  });
}

/** A wait that does not keep the engine's process alive once what it waits for has come. */
function grace(ms: number): Promise<void> {
  return sleep(ms, undefined, { ref: false });
}
