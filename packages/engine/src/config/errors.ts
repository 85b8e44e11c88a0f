import { TrineError } from '@trine/protocol';
import type { ProjectConfig } from './project.js';

/** One thing that is wrong with a configuration. */
export interface ConfigFault {
  /** What and what to do, e.g. `iii-queue.concurrency: expected a number, got text`. */
  readonly message: string;
  /** The file as shown to the user, e.g. `config.yaml`. */
  readonly file: string;
  /** From 1; undefined where no line can be named. */
  readonly line: number | undefined;
}

/**
 * A configuration that does not hold. Code `config_error`; the message has one line per fault:
 * `config.yaml:12: iii-queue.queue_configs.clicks: unknown key "max_retrys" (did you mean "max_retries"?)`.
 */
export class ConfigError extends TrineError {
  readonly faults: readonly ConfigFault[];

  constructor(faults: readonly ConfigFault[], options: { readonly cause?: unknown } = {}) {
    super(CONFIG_ERROR, faults.map(printFault).join('\n'), options);
    this.name = 'ConfigError';
    this.faults = faults;
  }
}

export const CONFIG_ERROR = 'config_error';

/**
 * A configuration that holds, of which some entries could not be brought into force. Code
 * `reload_failed`; the message has the reason of each.
 */
export class NotAppliedError extends TrineError {
  /** What runs now: the configuration with what ran before in the place of what was refused. */
  readonly inForce: ProjectConfig;
  /** Why, by the id of the entry. */
  readonly refused: ReadonlyMap<string, string>;
  /** What else changed, one word each: `added iii-state`. Empty: nothing did. */
  readonly applied: readonly string[];

  constructor(inForce: ProjectConfig, refused: ReadonlyMap<string, string>, applied: readonly string[]) {
    super('reload_failed', [...refused.values()].join('; '));
    this.name = 'NotAppliedError';
    this.inForce = inForce;
    this.refused = refused;
    this.applied = applied;
  }
}

function printFault({ file, line, message }: ConfigFault): string {
  if (line !== undefined) return `${file}:${line}: ${message}`;
  return file === '' ? message : `${file}: ${message}`;
}
