/**
 * Storage as the engine sees it: one writer thread for all durable writes, one reader thread for scans,
 * both started when the first store opens, and a checkpointer, started when a log has first grown.
 */
import { join, resolve } from 'node:path';
import { toErrorBody } from '@trine/protocol';
import { Emitter } from '../core/emitter.js';
import { silentLog, type Log } from '../core/log.js';
import type { OpenStoreOptions, QuarantinedRow, Storage, StorageHealth, Store, StoreValue } from '../core/store.js';
import { IN_MEMORY } from './connection.js';
import { FileStates } from './file-states.js';
import { READ, WRITE, WRITE_NORMAL, type ThreadEvent } from './messages.js';
import { closedError, StorageThread } from './storage-thread.js';

/** Rows of the quarantine that are remembered for health; the file has them all. */
const MAX_TOLD_ROWS = 100;

export interface StorageOptions {
  readonly projectDir: string;
  readonly dataDir: string;
  readonly log?: Log;
}

export class StorageThreads implements Storage {
  /** Too much waits for the disk (true), or no longer (false): whoever feeds it rests meanwhile. */
  readonly pressure = new Emitter<boolean>();
  readonly #options: StorageOptions;
  readonly #log: Log;
  readonly #files: FileStates;
  #writer: StorageThread | undefined;
  #reader: StorageThread | undefined;
  #checkpointer: StorageThread | undefined;
  #quarantined: readonly QuarantinedRow[] = [];
  #stores = 0;
  #stopped = false;

  constructor(options: StorageOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.#files = new FileStates(this.#log, () => ({
      writer: this.#startWriter(),
      reader: () => this.#reader,
      checkpointer: () => this.#checkpointer,
    }));
  }

  async open(options: OpenStoreOptions): Promise<Store> {
    if (this.#stopped) throw closedError();
    const { dataDir, projectDir } = this.#options;
    const inMemory = options.file === IN_MEMORY;
    const file = inMemory
      ? IN_MEMORY
      : options.file === undefined
        ? join(dataDir, 'engine.db')
        : resolve(projectDir, options.file);
    const writer = this.#startWriter();
    // A database in memory has one connection: its reads go to the writer, between two groups. Else both start at once.
    const reader = inMemory ? writer : this.#startReader();
    const store = this.#stores++;
    const request = { kind: 'open', store, module: options.module.href, file } as const;
    const rows = await writer.ask<QuarantinedRow[]>({ ...request, lockDir: inMemory ? undefined : dataDir });
    this.#addQuarantined(rows);
    if (reader !== writer) {
      await reader.ask({ ...request, lockDir: undefined });
      this.#files.opened(file);
    }
    return this.#store(store, file, options, writer, reader);
  }

  health(): StorageHealth {
    const files = this.#files.list();
    const worst = (['degraded', 'full'] as const).find((state) => files.some((file) => file.state === state));
    return {
      status: worst ?? (this.#writer?.isSlow === true ? 'slow' : 'ok'),
      files,
      quarantined: this.#quarantined,
      waitingBytes: this.#writer?.waitingBytes ?? 0,
    };
  }

  /** Closes every file after what waits was committed, and ends the threads. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#files.stop();
    await this.#checkpointer?.stop();
    await this.#reader?.stop();
    await this.#writer?.stop();
  }

  #store(id: number, file: string, options: OpenStoreOptions, writer: StorageThread, reader: StorageThread): Store {
    const write =
      (kind: number) =>
      <T>(operation: string, ...args: StoreValue[]): Promise<T> =>
        writer.run(id, kind, operation, args) as Promise<T>;
    let twin: Promise<Store> | undefined;
    const inMemory = (): Promise<Store> => (twin ??= this.open({ module: options.module, file: IN_MEMORY }));
    const store: Store = {
      write: write(WRITE),
      read: <T>(operation: string, ...args: StoreValue[]) => reader.run(id, READ, operation, args) as Promise<T>,
      as: (durability) =>
        durability === 'full' || file === IN_MEMORY
          ? store
          : durability === 'normal'
            ? { ...store, write: write(WRITE_NORMAL) }
            : {
                ...store,
                write: async (operation, ...args) => (await inMemory()).write(operation, ...args),
                read: async (operation, ...args) => (await inMemory()).read(operation, ...args),
                onReopened: () => ({ remove: () => undefined }),
              },
      onReopened: (listener) => ({ remove: this.#files.onReopened(file, listener) }),
      close: async () => {
        await (await twin)?.close();
        if (reader !== writer) await close(reader, id);
        await close(writer, id);
      },
    };
    return store;
  }

  #startWriter(): StorageThread {
    this.#writer ??= new StorageThread({
      kind: 'writer',
      onEvent: (event) => this.#told(event),
      onPressure: (isPressed) => {
        this.#log.warn(
          isPressed
            ? 'much waits for the disk: workers are not read until it has caught up'
            : 'the disk has caught up: workers are read again',
        );
        this.pressure.emit(isPressed);
      },
      onSlow: (isSlow) => {
        if (isSlow) this.#log.error('the disk has not finished a sync for seconds: nothing is accepted until it has');
        else this.#log.info('the disk syncs again');
      },
    });
    return this.#writer;
  }

  #startReader(): StorageThread {
    this.#reader ??= new StorageThread({ kind: 'reader', onEvent: (event) => this.#told(event) });
    return this.#reader;
  }

  #told(event: ThreadEvent): void {
    switch (event.kind) {
      case 'log-grew':
        return void this.#checkpoint(event.file);
      case 'damaged':
        return void this.#writer?.ask({ kind: 'quarantine', rows: event.rows }).catch(() => undefined);
      case 'quarantined':
        return this.#addQuarantined(event.rows, true);
      default:
        return this.#files.told(event);
    }
  }

  #addQuarantined(rows: readonly QuarantinedRow[], isNew = false): void {
    if (rows.length === 0) return;
    this.#quarantined = [...rows, ...this.#quarantined].slice(0, MAX_TOLD_ROWS);
    if (!isNew) {
      this.#log.warn('the quarantine holds damaged rows: `iii doctor` shows them', { rows: rows.length });
      return;
    }
    for (const { file, table, rowid, reason } of rows)
      this.#log.error('a damaged row was moved to the quarantine', { file, table, row: rowid, reason });
  }

  async #checkpoint(file: string): Promise<void> {
    if (this.#stopped) return;
    this.#checkpointer ??= new StorageThread({ kind: 'checkpointer', onEvent: () => undefined });
    try {
      await this.#checkpointer.ask({ kind: 'checkpoint', file });
    } catch (error) {
      if (this.#stopped) return;
      this.#log.error('a checkpoint failed', { file, reason: toErrorBody(error).message });
      await this.#writer?.ask({ kind: 'fail', file }).catch(() => undefined);
    }
  }
}

async function close(thread: StorageThread, store: number): Promise<void> {
  if (!thread.hasEnded) await thread.ask({ kind: 'close', store });
}
