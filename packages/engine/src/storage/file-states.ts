/**
 * The state of each file as the main thread knows it, and the way back of one that failed.
 *
 *   open -> full -> open           told by the writer thread, which goes on looking for room
 *   open, full -> degraded         told by the writer thread; its connection is closed
 *   degraded -> open               here: each second the folder is probed; once it can be written,
 *                                  every connection lets go, the writer opens the file anew, then
 *                                  the reader, then those who remember something of it are told
 *
 * A file that failed because its disk is full or read-only goes the same way back and is called `full`.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { toErrorBody } from '@trine/protocol';
import type { Log } from '../core/log.js';
import type { StorageHealth } from '../core/store.js';
import type { Probe } from './disk-fault.js';
import { StorageCode } from './errors.js';
import type { ThreadEvent } from './messages.js';
import type { StorageThread } from './storage-thread.js';

/** How often a file that failed is tried again, in milliseconds. */
const REOPEN_EACH_MS = 1_000;
/** After a try that took long (a large file is checked), the next one waits this many times as long. */
const REOPEN_REST = 10;

type FileHealth = StorageHealth['files'][number];

export interface FileThreads {
  readonly writer: StorageThread;
  readonly reader: () => StorageThread | undefined;
  readonly checkpointer: () => StorageThread | undefined;
}

export class FileStates {
  readonly #log: Log;
  readonly #threads: () => FileThreads;
  readonly #files = new Map<string, FileHealth>();
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #recovering = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();

  constructor(log: Log, threads: () => FileThreads) {
    this.#log = log;
    this.#threads = threads;
  }

  list(): FileHealth[] {
    return [...this.#files.values()];
  }

  opened(file: string): void {
    if (!this.#files.has(file)) this.#set(file, 'open');
  }

  onReopened(file: string, listener: () => void): () => void {
    const listeners = this.#listeners.get(file) ?? new Set();
    this.#listeners.set(file, listeners);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  told(event: Extract<ThreadEvent, { kind: 'degraded' | 'full' | 'room' }>): void {
    const { file } = event;
    if (event.kind === 'room') {
      this.#set(file, 'open');
      this.#log.info('the disk has room again: storage goes on', { file });
      return;
    }
    const isFull = event.kind === 'full' || event.code === StorageCode.full;
    this.#set(file, isFull ? 'full' : 'degraded', event.reason);
    this.#log.error(
      isFull
        ? 'the disk is full or read-only: nothing new is accepted until there is room'
        : 'a storage file failed: it is opened again as soon as the disk works',
      { file, reason: event.reason },
    );
    if (event.kind === 'degraded' && !this.#recovering.has(file)) {
      const recovered = this.#recover(file).catch((error: unknown) => {
        if (!this.#stop.signal.aborted)
          this.#log.error('a storage file is given up', { file, reason: toErrorBody(error).message });
      });
      this.#recovering.set(
        file,
        recovered.finally(() => this.#recovering.delete(file)),
      );
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#recovering.values());
  }

  async #recover(file: string): Promise<void> {
    const { writer, reader, checkpointer } = this.#threads();
    await checkpointer()?.ask({ kind: 'release', file });
    for (let waitMs = REOPEN_EACH_MS; ;) {
      await delay(waitMs, undefined, { signal: this.#stop.signal, ref: false });
      const started = performance.now();
      const reason = await this.#reopen(file, writer, reader());
      if (reason === undefined) break;
      this.#set(file, this.#files.get(file)?.state ?? 'degraded', reason);
      waitMs = Math.max(REOPEN_EACH_MS, REOPEN_REST * (performance.now() - started));
    }
    this.#set(file, 'open');
    this.#log.warn('a storage file that had failed is open again', { file });
    for (const listener of this.#listeners.get(file) ?? []) listener();
  }

  /** Returns what is still wrong. */
  async #reopen(file: string, writer: StorageThread, reader: StorageThread | undefined): Promise<string | undefined> {
    const probe = await writer.ask<Probe | undefined>({ kind: 'probe', file });
    if (probe?.ok === false) return probe.reason;
    // Nobody may hold what the connections had agreed on in memory: the disk alone decides.
    await reader?.ask({ kind: 'release', file });
    let fault: string | undefined;
    try {
      await writer.ask({ kind: 'reopen', file });
    } catch (error) {
      fault = toErrorBody(error).message;
    }
    try {
      await reader?.ask({ kind: 'reopen', file });
    } catch (error) {
      fault ??= toErrorBody(error).message;
      await writer.ask({ kind: 'fail', file });
    }
    return fault;
  }

  #set(file: string, state: FileHealth['state'], reason?: string): void {
    const before = this.#files.get(file);
    const since = before?.state === state ? before.since : Date.now();
    this.#files.set(file, { file, state, since, ...(reason === undefined ? {} : { reason }) });
  }
}
