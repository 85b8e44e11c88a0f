import { ErrorCode, TrineError, type ErrorBody } from '@trine/protocol';

/** The codes that the bridge answers with. */
export const BridgeCode = {
  /** The other engine, its function or the way there failed; the message says which, with its code. */
  failed: 'bridge_error',
} as const;

/** Whatever went wrong beyond the bridge. The code of the other engine stands at the start of the message. */
export function bridgeError(error: ErrorBody): TrineError {
  // Over several bridges it is told once.
  const message = error.code === BridgeCode.failed ? error.message : `${error.code}: ${error.message}`;
  return new TrineError(BridgeCode.failed, message);
}

export function badInvokeInput(detail: string): TrineError {
  return new TrineError(ErrorCode.deserialization, `Failed to parse invoke input: ${detail}`);
}
