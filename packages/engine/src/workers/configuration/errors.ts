import { toErrorBody, TrineError } from '@trine/protocol';

/** The codes that the configuration functions answer with. */
export const ConfigurationCode = {
  notFound: 'NOT_FOUND',
  notRegistered: 'NOT_REGISTERED',
  invalidId: 'INVALID_ID',
  schemaInvalid: 'SCHEMA_INVALID',
  schemaUnavailable: 'SCHEMA_UNAVAILABLE',
  expandFailed: 'EXPAND_FAILED',
  adapterError: 'ADAPTER_ERROR',
} as const;

export function notFound(id: string): TrineError {
  return new TrineError(ConfigurationCode.notFound, `configuration '${id}' not found`);
}

export function notRegistered(id: string): TrineError {
  return new TrineError(
    ConfigurationCode.notRegistered,
    `configuration '${id}' is not registered; call configuration::register first`,
  );
}

export function invalidId(id: string): TrineError {
  return new TrineError(ConfigurationCode.invalidId, `invalid configuration id '${id}': must match [a-z0-9_-]{1,64}`);
}

/** A built-in's settings cannot be registered over. */
export function builtInId(id: string): TrineError {
  return new TrineError(
    ConfigurationCode.invalidId,
    `invalid configuration id '${id}': it belongs to the built-in worker of that name; choose another`,
  );
}

export function schemaInvalid(faults: readonly string[]): TrineError {
  return new TrineError(ConfigurationCode.schemaInvalid, `schema validation failed: ${faults.join('; ')}`);
}

export function schemaUnavailable(id: string): TrineError {
  return new TrineError(
    ConfigurationCode.schemaUnavailable,
    `configuration '${id}' has no schema available yet; the owning worker must register before values can be set`,
  );
}

export function expandFailed(id: string, variables: readonly string[]): TrineError {
  return new TrineError(
    ConfigurationCode.expandFailed,
    `configuration '${id}' references unset environment variable(s) with no default: ${variables.join(', ')}`,
  );
}

export function adapterError(cause: unknown): TrineError {
  return new TrineError(
    ConfigurationCode.adapterError,
    `configuration could not be stored: ${toErrorBody(cause).message}`,
    { cause },
  );
}
