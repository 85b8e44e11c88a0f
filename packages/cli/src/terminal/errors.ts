/** A fault of the command that a person can act on: its lines go to stderr as they are, without a stack trace. */
export class CliError extends Error {
  readonly lines: readonly string[];
  /** 1 = the command failed, 2 = it was typed wrongly. */
  readonly exitCode: number;

  constructor(
    lines: string | readonly string[],
    options: { readonly exitCode?: number; readonly cause?: unknown } = {},
  ) {
    const all = typeof lines === 'string' ? [lines] : lines;
    super(all.join('\n'), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CliError';
    this.lines = all;
    this.exitCode = options.exitCode ?? 1;
  }
}

/** Exit status of a command that was typed wrongly. */
export const USAGE_EXIT = 2;

/** The three-line form of the project commands: what is wrong, why, what to do. */
export function problem(what: string, cause: string, fix: string): CliError {
  return new CliError([`error: ${what}`, `  cause: ${cause}`, `  fix: ${fix}`]);
}

/** For commands of the reference that this version does not have. */
export function notInThisVersion(what: string): CliError {
  return new CliError(`error: ${what} is not in this version`);
}

/** What to tell of any thrown thing: its message, never its stack. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    const parts = error.errors.map(messageOf);
    return [...new Set(parts)].join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}
