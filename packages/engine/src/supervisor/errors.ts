import { TrineError } from '@trine/protocol';

/**
 * Codes of `worker::*`, as clients of the reference know them.
 *
 * - `W100` the name has characters that a name must not have
 * - `W101` the source is not one that can be added here
 * - `W103` neither a name nor `all` was given
 * - `W104` the operation removes something and needs `yes: true`
 * - `W105` the request does not fit the worker (a built-in cannot be stopped alone)
 * - `W110` no such worker, built-in or folder
 * - `W111` a worker of that name is in config.yaml already
 * - `W130` config.yaml could not be written, or the engine was given no file
 * - `W131` the engine refused the edit of config.yaml; the message says whether it was taken back
 * - `W160` the worker could not be installed or started
 * - `W161` the worker was not ready in time
 * - `W180` the manifest is not valid
 */
export type WorkerOpsCode =
  'W100' | 'W101' | 'W103' | 'W104' | 'W105' | 'W110' | 'W111' | 'W130' | 'W131' | 'W160' | 'W161' | 'W180';

/**
 * A failed `worker::*` call. On the wire `message` is JSON text
 * `{ type: 'WorkerOpError', code, message, details }`, which is what the reference's clients parse.
 */
export class WorkerOpsError extends TrineError {
  /** The same message for people. */
  readonly text: string;

  constructor(code: WorkerOpsCode, text: string, details: Readonly<Record<string, unknown>> = {}) {
    super(code, JSON.stringify({ type: 'WorkerOpError', code, message: text, details }));
    this.name = 'WorkerOpsError';
    this.text = text;
  }
}

/** A manifest that cannot be used. The message names the file and every fault. */
export class ManifestError extends Error {
  override readonly name = 'ManifestError';
}

/** An install that failed: which command, and the last lines it printed. */
export class InstallError extends Error {
  override readonly name = 'InstallError';

  constructor(
    message: string,
    readonly command: string,
    readonly output: readonly string[],
    /** What to do, where that is known. */
    readonly hint?: string,
  ) {
    super(message);
  }
}
