/** Events of streams: one text, the same for sockets and for the functions of `stream` triggers. */

export interface StreamEvent {
  readonly stream: string;
  readonly group: string;
  /** Undefined = about the group. */
  readonly item: string | undefined;
  /** The whole wrapper as JSON. */
  readonly text: string;
  /** Place of the write in its store; undefined = not known, or not a write. */
  readonly revision: number | undefined;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
}

/**
 * @param item - undefined is told as null
 * @param body - raw JSON of `event`
 * @param timestampMs - milliseconds since the epoch
 */
export function wrapperText(
  stream: string,
  group: string,
  item: string | undefined,
  body: string,
  timestampMs: number,
): string {
  return (
    `{"type":"stream","timestamp":${timestampMs},"streamName":${JSON.stringify(stream)},"groupId":${JSON.stringify(group)}` +
    `,"id":${item === undefined ? 'null' : JSON.stringify(item)},"event":${body}}`
  );
}

/** @param data - raw JSON */
export function changeBody(type: 'create' | 'update' | 'delete' | 'sync', data: string): string {
  return `{"type":"${type}","data":${data}}`;
}

/** @param type - raw JSON of the custom type, @param data - raw JSON */
export function customBody(type: string, data: string): string {
  return `{"type":"event","event":{"type":${type},"data":${data}}}`;
}

export const UNAUTHORIZED_BODY = '{"type":"unauthorized"}';
