import { toErrorBody, TrineError } from '@trine/protocol';

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
