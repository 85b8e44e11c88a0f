import { createEngine, createLog, type Engine, type EngineOptions } from '@trine/engine';
import { tempFolder, waitFor, type Frame, type RawWorker } from '@trine/testing';
import { WebSocket } from 'ws';

export interface AccessBed {
  readonly engine: Engine;
  /** The listener without rules. */
  readonly trusted: string;
  /** The listener with the rules. */
  readonly guarded: string;
  /** What the engine logged. */
  readonly log: () => string;
  readonly folder: string;
  stop(): Promise<void>;
}

/**
 * An engine with two listeners, the second one with access rules.
 *
 * @param guarded - `config:` of the second listener
 */
export async function accessBed(
  guarded: Record<string, unknown>,
  { workers = [], ...options }: EngineOptions & { readonly workers?: readonly object[] } = {},
): Promise<AccessBed> {
  const folder = await tempFolder();
  let log = '';
  const engine = await createEngine({
    cwd: folder.path,
    log: createLog({ level: 'info', format: 'json', stream: { write: (text) => void (log += text) } }),
    ...options,
    config: {
      workers: [
        { name: 'iii-worker-manager', config: { port: 0 } },
        { name: 'iii-worker-manager', config: { port: 0, ...guarded } },
        ...workers,
      ],
    },
  });
  await engine.start();
  return {
    engine,
    trusted: engine.url,
    guarded: `ws://127.0.0.1:${engine.ports['iii-worker-manager#1']}`,
    log: () => log,
    folder: folder.path,
    async stop() {
      await engine.stop();
      await folder.remove();
    },
  };
}

/** Waits until everything that a worker sent before has been handled. */
export async function settled(worker: RawWorker): Promise<void> {
  await worker.ask('nobody::here', null);
}

export interface Door {
  readonly frames: readonly Frame[];
  /** Code and reason of the end, or the status of an upgrade that was refused. */
  readonly end: string;
}

/** Connects and waits for the end: what a client sees that is not let in. */
export async function knock(url: string, options: { readonly headers?: Record<string, string> } = {}): Promise<Door> {
  const ws = new WebSocket(url, { headers: options.headers ?? {} });
  const frames: Frame[] = [];
  let end: string | undefined;
  ws.on('message', (data: Buffer) => void frames.push(JSON.parse(data.toString()) as Frame));
  ws.on('close', (code, reason) => (end ??= `${code} ${reason.toString()}`));
  ws.on('error', (error) => (end ??= error.message));
  try {
    return { frames, end: await waitFor(() => end, { what: 'the end of a connection' }) };
  } finally {
    ws.terminate();
  }
}
