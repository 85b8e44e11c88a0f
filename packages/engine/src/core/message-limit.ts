/** How large a message may be that goes to a client, by what is known of the client. */
import { ErrorCode, type ErrorBody } from '@trine/protocol';
import type { WorkerInfo } from './session.js';

const MIB = 1024 * 1024;

/** Largest message to a client, in bytes: what the common clients accept. */
export const MAX_MESSAGE_BYTES = 64 * MIB;
/** Largest message to a Python client before 0.24.5: above it the client closes with 1009 and loops. */
export const OLD_PYTHON_MESSAGE_BYTES = MIB;

/** Longest message in one frame, in bytes: strict clients refuse longer frames, and take longer messages. */
export const MAX_FRAME_BYTES = 16 * MIB;
/** Payload of a frame of a message that is longer, in bytes. */
export const PIECE_BYTES = MIB;

/** Is a user agent that of Python's `websockets`? All that is known of a client before it describes itself. */
export function isPythonAgent(userAgent: string | undefined): boolean {
  return userAgent?.toLowerCase().includes('websockets') ?? false;
}

/** Declared by clients that take large messages, whatever version they report. */
const LARGE_MESSAGES = 'large-messages.v1';

/** @param isPythonSocket - the user agent is that of Python's `websockets`: decides before a worker describes itself */
export function messageLimit({ runtime, version, features }: WorkerInfo, isPythonSocket: boolean): number {
  if (features.includes(LARGE_MESSAGES)) return MAX_MESSAGE_BYTES;
  const isOldPython = runtime === undefined ? isPythonSocket : runtime === 'python' && isBefore(version, 0, 24, 5);
  return isOldPython ? OLD_PYTHON_MESSAGE_BYTES : MAX_MESSAGE_BYTES;
}

export function exceeds(text: string, limitBytes: number): boolean {
  // A UTF-16 unit is at most three bytes of UTF-8: only near the limit is the exact size worth knowing.
  return text.length > limitBytes / 3 && (text.length > limitBytes || Buffer.byteLength(text) > limitBytes);
}

/**
 * @param what - e.g. `the call of math::add`
 * @param answerOf - the function whose answer it is: lists of the engine can be asked for less
 */
export function messageTooLarge(
  what: string,
  bytes: number,
  worker: string,
  limitBytes: number,
  answerOf?: string,
): ErrorBody {
  const isList = answerOf !== undefined && /^engine::.*::list$/.test(answerOf);
  const less = isList ? 'send less, or ask for less with `search` or `prefix`' : 'send less';
  const fix = limitBytes === OLD_PYTHON_MESSAGE_BYTES ? `upgrade its iii-sdk to 0.24.5 or later, or ${less}` : less;
  return {
    code: ErrorCode.payloadTooLarge,
    message: `${what} is a message of about ${bytes} bytes; worker ${worker} accepts ${limitBytes} bytes: ${fix}`,
  };
}

/** Is a version below the given one? A version that cannot be read counts as old. */
export function isBefore(version: string | undefined, major: number, minor: number, patch: number): boolean {
  const match = /^(\d+)\.(\d+)\.(\d+)/.exec(version ?? '');
  if (match === null) return true;
  const [a, b, c] = [Number(match[1]), Number(match[2]), Number(match[3])];
  return a !== major ? a < major : b !== minor ? b < minor : c < patch;
}
