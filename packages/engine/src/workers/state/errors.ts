import { toErrorBody, TrineError } from '@trine/protocol/plain';

/** The codes that the state functions answer with. */
export const StateCode = {
  /** A value is larger than `max_value_bytes`. */
  valueTooLarge: 'VALUE_TOO_LARGE',
  set: 'SET_ERROR',
  get: 'GET_ERROR',
  delete: 'DELETE_ERROR',
  update: 'UPDATE_ERROR',
  list: 'LIST_ERROR',
  listGroups: 'LIST_GROUPS_ERROR',
} as const;

type StorageFailureCode = 'set' | 'get' | 'delete' | 'update' | 'list' | 'listGroups';

const WHAT_FAILED: Readonly<Record<StorageFailureCode, string>> = {
  set: 'set value',
  get: 'get value',
  delete: 'delete value',
  update: 'update value',
  list: 'list values',
  listGroups: 'list groups',
};

/** A failure of the store, under the code of the function that met it. */
export function storeError(code: StorageFailureCode, cause: unknown): TrineError {
  return new TrineError(StateCode[code], `Failed to ${WHAT_FAILED[code]}: ${toErrorBody(cause).message}`, { cause });
}

/** @param bytes - size of the value as compact JSON */
export function valueTooLarge(bytes: number, maxBytes: number): TrineError {
  return new TrineError(
    StateCode.valueTooLarge,
    `value of ${bytes} bytes exceeds the configured max_value_bytes limit of ${maxBytes}`,
  );
}

/** More values than one message to a worker can carry. */
export function listTooLarge(scope: string, maxBytes: number): Error {
  return new Error(
    `the values of scope '${scope}' are larger than ${maxBytes} bytes together: spread them over more scopes`,
  );
}

/** Other engines changed the value each time before an update of it could be stored. */
export function contended(scope: string, key: string, times: number): Error {
  return new Error(
    `key '${key}' of scope '${scope}' was changed by other engines ${times} times while it was updated: update it from fewer places`,
  );
}
