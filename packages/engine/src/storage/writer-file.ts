/**
 * One database in the writer thread.
 *
 * States:
 *   open -> full       no room, or a read-only disk: what makes nothing smaller is refused
 *   full -> open       the reserve could be written again (looked at each second)
 *   open, full -> degraded   an I/O error or corruption: the connection is closed, everything refused
 *   degraded -> open   `reopen` has gone well; the main thread asks for it, when readers have let go
 * The changes are `#fillUp`, `#tryRoom`, `fail` and `reopen`.
 *
 * A group runs without savepoints and is committed. If one of its operations throws, the group is
 * rolled back and run again with a savepoint each: the bad one fails alone. (Savepoints always would
 * cost every good group; measured at about 15 % of a group.)
 */
import type Database from 'better-sqlite3';
import { connectWriter, IN_MEMORY } from './connection.js';
import { diskFault, probeFolder } from './disk-fault.js';
import { degradedFailure, fullFailure, openError, StorageCode, toFailure } from './errors.js';
import {
  WRITE,
  operationBytes,
  type DamagedRow,
  type Failure,
  type QuarantinedRow,
  type ThreadEvent,
} from './messages.js';
import { migrate } from './migrate.js';
import { RelaxedMark } from './relaxed-mark.js';
import { ReserveFile } from './reserve-file.js';
import { quarantineRow } from './row-checksum.js';
import type { Step } from './step.js';
import type { Operations, StoreModule } from './store-module.js';
import { rewriteLog } from './wal-rewrite.js';

/** Longest time that operations are added to an open transaction, in milliseconds. */
const MAX_GROUP_MS = 5;
/** The log's size is looked at after this many commits, or bytes of operations. */
const LOOK_EACH_COMMITS = 32;
const LOOK_EACH_BYTES = 1024 * 1024;
/** The log is moved into the database, in a thread of its own, each time it has grown by this, in bytes. */
export const CHECKPOINT_EACH_BYTES = 8 * 1024 * 1024;
/** A log that is larger, in bytes, is begun anew by the writer itself, between two groups. */
const RESTART_ABOVE_BYTES = 64 * 1024 * 1024;
/** The writer waits this long for readers of the old log, in milliseconds; after that it tries again later. */
const RESTART_WAIT_MS = 50;
const BUSY_TIMEOUT_MS = 5_000;
/** The reserve is written this long after the start, in milliseconds, so that it does not hold up the first operations. */
const RESERVE_AFTER_MS = 1_000;
/** How often a full disk is looked at, in milliseconds. */
const ROOM_EACH_MS = 1_000;
/** Rows of the quarantine that are told at a start. */
const MAX_TOLD_ROWS = 100;

interface Prepared {
  readonly module: StoreModule;
  writes: Operations;
  reads: Operations;
}

export class WriterFile {
  readonly path: string;
  readonly #tell: (event: ThreadEvent) => void;
  readonly #stores = new Map<number, Prepared>();
  readonly #reserve: ReserveFile;
  readonly #mark: RelaxedMark | undefined;
  #db: Database.Database | undefined;
  #begin!: Database.Statement;
  #commit!: Database.Statement;
  #walSize!: Database.Statement;
  #pageBytes = 0;
  #isSynced = true;
  /** Set while it is full or degraded: what refused operations are told. */
  #refusal: Failure | undefined;
  #timer: NodeJS.Timeout | undefined;
  #commits = 0;
  #bytes = 0;
  #checkpointAt = CHECKPOINT_EACH_BYTES;
  #restartAt = RESTART_ABOVE_BYTES;

  /** @throws TrineError what cannot be opened, and why */
  constructor(path: string, tell: (event: ThreadEvent) => void) {
    this.path = path;
    this.#tell = tell;
    this.#reserve = new ReserveFile(path);
    this.#mark = path === IN_MEMORY ? undefined : new RelaxedMark(path);
    this.#use(connectWriter(path, this.#mark?.isSet === true));
    if (path !== IN_MEMORY) this.#later(RESERVE_AFTER_MS, () => void this.#reserve.ensure().catch(() => undefined));
  }

  get isUnused(): boolean {
    return this.#stores.size === 0;
  }

  /** Rows that lie in the quarantine, the newest first. */
  quarantined(): QuarantinedRow[] {
    if (this.#db === undefined) return [];
    return this.#db
      .prepare(
        `SELECT ? AS file, tbl AS "table", row AS rowid, reason, found_at AS foundAt FROM trine_quarantine ORDER BY id DESC LIMIT ?`,
      )
      .all(this.path, MAX_TOLD_ROWS) as QuarantinedRow[];
  }

  open(store: number, module: StoreModule): void {
    if (this.#db === undefined) throw Object.assign(new Error(this.#refusal?.message), { code: this.#refusal?.code });
    migrate(this.#db, module, this.path);
    this.#stores.set(store, { module, ...this.#prepare(store, module, this.#db) });
  }

  close(store: number): void {
    this.#stores.delete(store);
  }

  /** Closes the file; a sound one with an empty log. */
  shut(): void {
    clearTimeout(this.#timer);
    if (this.#db === undefined) return;
    try {
      if (this.path !== IN_MEMORY) {
        const [result] = this.#db.pragma('wal_checkpoint(TRUNCATE)') as [{ busy: number }];
        if (result.busy === 0) this.#mark?.clear();
      }
    } catch {
      // The log stays, and is read at the next start.
    } finally {
      this.#closeConnection();
    }
  }

  read(step: Step): unknown {
    return this.#call(step, 'reads');
  }

  /**
   * Runs operations as one transaction.
   *
   * @param answers - gets an answer for each that was run
   * @returns those that did not fit into it
   */
  run(steps: readonly Step[], answers: unknown[]): readonly Step[] {
    if (this.#refusal !== undefined) {
      if (this.#db === undefined) refuse(steps, this.#refusal, answers);
      else this.#runWhenFull(steps, answers);
      return NONE;
    }
    const before = answers.length;
    const started = performance.now();
    let next = 0;
    try {
      this.#start(steps);
      while (next < steps.length && (next === 0 || performance.now() - started < MAX_GROUP_MS)) {
        const step = steps[next++] as Step;
        answers.push(step.id, true, this.#call(step, 'writes'));
      }
      this.#commit.run();
    } catch (error) {
      answers.length = before;
      this.#rollback();
      if (diskFault(error) === 'operation' && next > 0) {
        this.#runEach(steps.slice(0, next), answers);
        return steps.slice(next);
      }
      this.#failed(error, steps, answers);
      return NONE;
    }
    if (next === steps.length) {
      this.#lookAtLog(steps);
      return NONE;
    }
    this.#lookAtLog(steps.slice(0, next));
    return steps.slice(next);
  }

  /** Moves damaged rows out of the way. */
  quarantine(rows: readonly DamagedRow[], now: number): void {
    const db = this.#db;
    if (db === undefined) return;
    const moved: QuarantinedRow[] = [];
    try {
      db.transaction(() => {
        for (const { store, table, rowid } of rows) {
          const checked = this.#stores.get(store)?.module.checked?.find((each) => each.table === table);
          if (checked === undefined) continue;
          const reason = quarantineRow(db, checked, rowid, now);
          if (reason !== undefined) moved.push({ file: this.path, table, rowid, reason, foundAt: now });
        }
      })();
    } catch (error) {
      if (diskFault(error) === 'broken') this.fail(error);
      return;
    }
    if (moved.length > 0) this.#tell({ kind: 'quarantined', rows: moved });
  }

  /** The connection is not to be trusted any more. */
  fail(error: unknown): void {
    if (this.#db === undefined || this.path === IN_MEMORY) return;
    const probe = probeFolder(this.path);
    const noRoom = !probe.ok && probe.noRoom;
    const reason = probe.ok ? messageOf(error) : probe.reason;
    if (noRoom) this.#reserve.free();
    this.#closeConnection();
    clearTimeout(this.#timer);
    this.#refusal = noRoom ? fullFailure(this.path, reason) : degradedFailure(this.path, reason);
    this.#tell({ kind: 'degraded', file: this.path, code: this.#refusal.code, reason });
  }

  /**
   * Opens the file again after a failure: the disk decides what was committed.
   *
   * @throws what is still wrong
   */
  reopen(): void {
    if (this.#db !== undefined) return;
    rewriteLog(`${this.path}-wal`);
    const db = connectWriter(this.path, this.#mark?.isSet === true);
    try {
      const check = db.pragma('quick_check(1)', { simple: true });
      if (check !== 'ok') throw Object.assign(new Error(String(check)), { code: 'SQLITE_CORRUPT' });
      db.exec('BEGIN IMMEDIATE; UPDATE trine_schema SET version = version; COMMIT');
      for (const [id, store] of this.#stores) Object.assign(store, this.#prepare(id, store.module, db));
    } catch (error) {
      db.close();
      throw openError(this.path, error);
    }
    this.#use(db);
    this.#refusal = undefined;
    this.#later(RESERVE_AFTER_MS, () => void this.#reserve.ensure().catch(() => undefined));
  }

  #use(db: Database.Database): void {
    this.#db = db;
    this.#begin = db.prepare('BEGIN IMMEDIATE');
    this.#commit = db.prepare('COMMIT');
    this.#walSize = db.prepare('PRAGMA wal_checkpoint(NOOP)').raw();
    this.#pageBytes = db.pragma('page_size', { simple: true }) as number;
    this.#isSynced = true;
    this.#checkpointAt = CHECKPOINT_EACH_BYTES;
    this.#restartAt = RESTART_ABOVE_BYTES;
  }

  #prepare(store: number, module: StoreModule, db: Database.Database): Pick<Prepared, 'writes' | 'reads'> {
    const tools = {
      damaged: (table: { readonly table: string }, rowid: number): void =>
        this.#tell({ kind: 'damaged', rows: [{ store, table: table.table, rowid }] }),
    };
    return { writes: module.writes(db, tools), reads: module.reads(db, tools) };
  }

  #closeConnection(): void {
    try {
      this.#db?.close();
    } catch {
      // What SQLite says at the end of a broken connection changes nothing.
    }
    this.#db = undefined;
  }

  #start(steps: readonly Step[]): void {
    const mustSync = steps.some(({ kind }) => kind === WRITE) || !this.#mayRelax();
    if (mustSync !== this.#isSynced) {
      this.#db?.pragma(`synchronous = ${mustSync ? 'FULL' : 'NORMAL'}`);
      this.#isSynced = mustSync;
    }
    this.#begin.run();
  }

  /** Without its mark on disk, no commit goes unsynced. */
  #mayRelax(): boolean {
    try {
      this.#mark?.set();
      return this.#mark !== undefined;
    } catch {
      return false;
    }
  }

  #rollback(): void {
    try {
      if (this.#db?.inTransaction === true) this.#db.exec('ROLLBACK');
    } catch {
      // The transaction is gone with the connection.
    }
  }

  /** A group failed with this error, which is not one of its operations', and nothing of it is kept. */
  #failed(error: unknown, steps: readonly Step[], answers: unknown[]): void {
    const fault = diskFault(error);
    if (fault === 'broken' && this.path !== IN_MEMORY) {
      this.fail(error);
      refuse(steps, this.#refusal as Failure, answers);
    } else if (fault === 'full' && this.path !== IN_MEMORY) {
      this.#fillUp(messageOf(error));
      this.#runWhenFull(steps, answers);
    } else {
      const message = `${this.path}: ${messageOf(error)}`;
      refuse(steps, { code: StorageCode.failed, message, retryable: fault === 'busy' }, answers);
    }
  }

  /** The group again, with a savepoint each. */
  #runEach(steps: readonly Step[], answers: unknown[]): void {
    const db = this.#db as Database.Database;
    const before = answers.length;
    try {
      this.#start(steps);
      for (const step of steps) {
        try {
          answers.push(step.id, true, db.transaction(() => this.#call(step, 'writes'))());
        } catch (error) {
          if (diskFault(error) !== 'operation') throw error;
          answers.push(step.id, false, toFailure(error));
        }
      }
      this.#commit.run();
    } catch (error) {
      // An operation that fails by itself has its answer: this is the disk, or the commit.
      answers.length = before;
      this.#rollback();
      this.#failed(error, steps, answers);
      return;
    }
    this.#lookAtLog(steps);
  }

  #fillUp(reason: string): void {
    this.#reserve.free();
    if (this.#refusal !== undefined) return;
    this.#refusal = fullFailure(this.path, reason);
    this.#tell({ kind: 'full', file: this.path, reason });
    this.#later(ROOM_EACH_MS, () => void this.#tryRoom());
  }

  /** On a full disk: ends still go through, into the room that was set aside. */
  #runWhenFull(steps: readonly Step[], answers: unknown[]): void {
    const refusal = this.#refusal as Failure;
    const mayRun = ({ store, name }: Step): boolean =>
      this.#stores.get(store)?.module.whenFull?.includes(name) === true;
    refuse(
      steps.filter((step) => !mayRun(step)),
      refusal,
      answers,
    );
    const running = steps.filter(mayRun);
    if (running.length === 0) return;
    const before = answers.length;
    try {
      this.#start(running);
      for (const step of running) answers.push(step.id, true, this.#call(step, 'writes'));
      this.#commit.run();
    } catch (error) {
      answers.length = before;
      this.#rollback();
      const fault = diskFault(error);
      if (fault === 'operation') return this.#runEach(running, answers);
      if (fault === 'broken') this.fail(error);
      refuse(running, this.#refusal ?? refusal, answers);
    }
  }

  async #tryRoom(): Promise<void> {
    try {
      await this.#reserve.ensure();
    } catch {
      if (this.#db !== undefined) this.#later(ROOM_EACH_MS, () => void this.#tryRoom());
      return;
    }
    if (this.#db === undefined || this.#refusal === undefined) return;
    this.#refusal = undefined;
    this.#tell({ kind: 'room', file: this.path });
  }

  /** After a commit: is it time to move the log into the database? */
  #lookAtLog(steps: readonly Step[]): void {
    if (this.path === IN_MEMORY) return;
    for (const { args } of steps) this.#bytes += operationBytes(args);
    if (++this.#commits < LOOK_EACH_COMMITS && this.#bytes < LOOK_EACH_BYTES) return;
    this.#commits = 0;
    this.#bytes = 0;
    let size: [number, number, number];
    try {
      size = this.#walSize.get() as typeof size;
    } catch (error) {
      return this.#logFailed(error);
    }
    const [, frames, moved] = size;
    const bytes = frames * this.#pageBytes;
    if (bytes < this.#checkpointAt - CHECKPOINT_EACH_BYTES) {
      // The log has begun anew.
      this.#checkpointAt = CHECKPOINT_EACH_BYTES;
      this.#restartAt = RESTART_ABOVE_BYTES;
    }
    if (bytes >= this.#checkpointAt && moved < frames) {
      this.#checkpointAt = bytes + CHECKPOINT_EACH_BYTES;
      this.#tell({ kind: 'log-grew', file: this.path });
    }
    if (bytes >= this.#restartAt) this.#restartLog(bytes);
  }

  #restartLog(bytes: number): void {
    const db = this.#db as Database.Database;
    try {
      db.pragma(`busy_timeout = ${RESTART_WAIT_MS}`);
      const [result] = db.pragma('wal_checkpoint(RESTART)') as [{ busy: number }];
      // A reader holds the old log: again when it has grown some more.
      this.#restartAt = result.busy === 0 ? RESTART_ABOVE_BYTES : bytes + CHECKPOINT_EACH_BYTES;
      db.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
    } catch (error) {
      this.#logFailed(error);
    }
  }

  /** The commits before it are on disk: only what comes next is told. */
  #logFailed(error: unknown): void {
    if (diskFault(error) === 'full') this.#fillUp(messageOf(error));
    else if (diskFault(error) === 'broken') this.fail(error);
  }

  #later(afterMs: number, run: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(run, afterMs);
    this.#timer.unref();
  }

  #call(step: Step, kind: 'writes' | 'reads'): unknown {
    const operation = this.#stores.get(step.store)?.[kind][step.name] as
      ((...args: readonly unknown[]) => unknown) | undefined;
    if (operation === undefined) throw new Error(`the store has no operation ${step.name}`);
    return operation(...step.args);
  }
}

const NONE: readonly Step[] = [];

function refuse(steps: readonly Step[], failure: Failure, answers: unknown[]): void {
  for (const { id } of steps) answers.push(id, false, failure);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
