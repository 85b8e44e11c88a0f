/** What the main thread and the thread of a database say to each other: one call at a time. */
import type { Fault } from './errors.js';

/** Given to the thread at its start. */
export interface ThreadOptions {
  /** The database's name in the configuration, for errors. */
  readonly name: string;
  /** Absolute path of the file, or `:memory:`. */
  readonly file: string;
}

export interface QueryCall {
  readonly kind: 'query';
  readonly sql: string;
  /** Raw JSON text. */
  readonly params: string | undefined;
  readonly timeoutMs: number;
}

export interface ExecuteCall {
  readonly kind: 'execute';
  readonly sql: string;
  readonly params: string | undefined;
  /** Columns to return where the statement names none itself. */
  readonly returning: readonly string[];
}

export interface TransactionCall {
  readonly kind: 'transaction';
  readonly statements: readonly { readonly sql: string; readonly params: string | undefined }[];
  /** Take the write lock at once instead of at the first write. */
  readonly immediate: boolean;
}

export type Call = QueryCall | ExecuteCall | TransactionCall;
export type ToThread = Call | { readonly kind: 'close' };

export type FromThread =
  /** The file is open. */
  | { readonly kind: 'open' }
  /** The file cannot be opened; the thread ends. */
  | { readonly kind: 'unopened'; readonly message: string }
  /** The result of the call, as JSON text. */
  | { readonly kind: 'result'; readonly json: string }
  | { readonly kind: 'fault'; readonly fault: Fault };
