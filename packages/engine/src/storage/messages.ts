/** What main thread and storage threads say to each other. */

export interface OpenMessage {
  readonly kind: 'open';
  readonly id: number;
  /** Number of the store, chosen by the main thread. */
  readonly store: number;
  readonly module: string;
  readonly file: string;
  /** Set where the data folder must be held exclusively first. */
  readonly lockDir: string | undefined;
}

export interface CloseMessage {
  readonly kind: 'close';
  readonly id: number;
  readonly store: number;
}

/** Operations, flat: id, store, kind, name, arguments, id, store, ... */
export interface RunMessage {
  readonly kind: 'run';
  readonly operations: readonly unknown[];
}

/**
 * About one file. `fail` = do not trust the connection any more; `probe` = can its folder be written?;
 * `release` = close the connection; `reopen` = open it again, as it was; `checkpoint` = move the log
 * into the database.
 */
export interface FileMessage {
  readonly kind: 'fail' | 'probe' | 'release' | 'reopen' | 'checkpoint';
  readonly id: number;
  readonly file: string;
}

/** Damaged rows that are to be moved out of the way. */
export interface QuarantineMessage {
  readonly kind: 'quarantine';
  readonly id: number;
  readonly rows: readonly DamagedRow[];
}

export interface StopMessage {
  readonly kind: 'stop';
}

export type ToThread = OpenMessage | CloseMessage | RunMessage | FileMessage | QuarantineMessage | StopMessage;

/** A row whose bytes do not match its checksum. */
export interface DamagedRow {
  readonly store: number;
  readonly table: string;
  readonly rowid: number;
}

/** What a thread tells unasked. */
export type ThreadEvent =
  | { readonly kind: 'degraded'; readonly file: string; readonly code: string; readonly reason: string }
  | { readonly kind: 'full'; readonly file: string; readonly reason: string }
  | { readonly kind: 'room'; readonly file: string }
  | { readonly kind: 'log-grew'; readonly file: string }
  | { readonly kind: 'damaged'; readonly rows: readonly DamagedRow[] }
  | { readonly kind: 'quarantined'; readonly rows: readonly QuarantinedRow[] };

/** A row that was moved out of the way, as health and the doctor name it. */
export interface QuarantinedRow {
  readonly file: string;
  readonly table: string;
  readonly rowid: number;
  readonly reason: string;
  /** Wall time, in milliseconds. */
  readonly foundAt: number;
}

/** Answers, flat: id, ok, value or failure, id, ... */
export interface FromThread {
  readonly answers: readonly unknown[];
  /** Number of `run` messages that these answers end. */
  readonly batches: number;
  readonly events?: readonly ThreadEvent[];
}

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly retryable?: boolean;
}

/** Fields per operation in `RunMessage.operations`. */
export const OPERATION_WIDTH = 5;
/** Fields per answer in `FromThread.answers`. */
export const ANSWER_WIDTH = 3;

/** Kinds of operations: written and synced, read, written and not necessarily synced. */
export const WRITE = 0;
export const READ = 1;
export const WRITE_NORMAL = 2;

/** Rough bytes of an operation beside its texts. */
const OPERATION_BYTES = 128;

/** Rough size of an operation, in bytes: what bounds count. */
export function operationBytes(args: readonly unknown[]): number {
  let bytes = OPERATION_BYTES;
  for (const arg of args) {
    if (typeof arg === 'string') bytes += arg.length;
    else if (Array.isArray(arg)) bytes += operationBytes(arg as readonly unknown[]);
    else if (arg instanceof Uint8Array) bytes += arg.byteLength;
  }
  return bytes;
}
