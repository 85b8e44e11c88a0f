import { CliError } from '../terminal/errors.js';

/** @throws CliError when the name could not be one in config.yaml, in paths and in function ids */
export function checkWorkerName(name: string): void {
  if (name === '') throw new CliError('error: Worker name must not be empty.');
  if (name.startsWith('.') || name.includes('..')) {
    throw new CliError(`error: Worker name '${name}' must not begin with a dot or contain two in a row.`);
  }
  if (!/^[A-Za-z0-9._-]+$/.test(name)) {
    throw new CliError(
      `error: Worker name '${name}' contains invalid characters. Only alphanumeric, dash, underscore, and dot are allowed.`,
    );
  }
}
