import { toErrorBody, TrineError } from '@trine/protocol';

/** The codes that the stream functions answer with. */
export const StreamCode = {
  set: 'STREAM_SET_ERROR',
  get: 'STREAM_GET_ERROR',
  delete: 'STREAM_DELETE_ERROR',
  update: 'STREAM_UPDATE_ERROR',
  list: 'STREAM_GET_GROUP_ERROR',
  listGroups: 'STREAM_LIST_GROUPS_ERROR',
  listAll: 'STREAM_LIST_ALL_ERROR',
  send: 'STREAM_SEND_ERROR',
  /** The function that serves a custom stream answered with something else than its operation's result. */
  badResult: 'JSON_ERROR',
} as const;

export type StreamFailure = Exclude<keyof typeof StreamCode, 'badResult'>;

const WHAT_FAILED: Readonly<Record<StreamFailure, string>> = {
  set: 'set value',
  get: 'get value',
  delete: 'delete value',
  update: 'update value',
  list: 'get group',
  listGroups: 'list groups',
  listAll: 'list stream',
  send: 'send event',
};

/** A failure of the store or of a custom stream, under the code of the function that met it. */
export function streamError(code: StreamFailure, cause: unknown): TrineError {
  if (cause instanceof TrineError && cause.code === StreamCode.badResult) return cause;
  const message = `Failed to ${WHAT_FAILED[code]}: ${toErrorBody(cause).message}`;
  return new TrineError(StreamCode[code], message, { cause });
}

/** @param detail - what is wrong with the answer of a custom stream */
export function badResult(functionId: string, detail: string): TrineError {
  return new TrineError(StreamCode.badResult, `Failed to convert result to value: ${functionId}: ${detail}`);
}
