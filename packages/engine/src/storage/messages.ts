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

/** Operations, flat: id, store, kind (0 write, 1 read), name, arguments, id, store, ... */
export interface RunMessage {
  readonly kind: 'run';
  readonly operations: readonly unknown[];
}

export interface StopMessage {
  readonly kind: 'stop';
}

export type ToThread = OpenMessage | CloseMessage | RunMessage | StopMessage;

/** Answers, flat: id, ok, value or failure, id, ... */
export interface FromThread {
  readonly answers: readonly unknown[];
  /** Number of `run` messages that these answers end. */
  readonly batches: number;
}

export interface Failure {
  readonly code: string;
  readonly message: string;
}

/** Fields per operation in `RunMessage.operations`. */
export const OPERATION_WIDTH = 5;
/** Fields per answer in `FromThread.answers`. */
export const ANSWER_WIDTH = 3;

export const WRITE = 0;
export const READ = 1;
