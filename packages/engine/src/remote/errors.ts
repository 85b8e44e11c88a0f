import { ErrorCode, type ErrorBody } from '@trine/protocol';

/** The codes of calls to another engine, as its client answers them. What the other engine answers keeps its code. */
export const RemoteCode = {
  /** No connection to the other engine: the call was not sent. */
  unreachable: 'remote_unreachable',
  /** The connection ended before the answer: the call may or may not have run. */
  lost: 'remote_lost',
  /** No answer in time: the call may or may not have run. */
  timeout: 'remote_timeout',
  /** Too much waits to be sent to the other engine. */
  overloaded: 'remote_overloaded',
  /** The call has crossed as many bridges as it may: the bridges form a loop. */
  hopLimit: 'bridge_hop_limit',
} as const;

export function unreachable(url: string, functionId: string, reason: string): ErrorBody {
  return {
    code: RemoteCode.unreachable,
    message: `no connection to the engine at ${url} (${reason}): ${functionId} was not called; check that it runs and that the address is right`,
  };
}

export function lost(url: string, functionId: string): ErrorBody {
  return {
    code: RemoteCode.lost,
    message: `the connection to the engine at ${url} ended before ${functionId} answered: it may or may not have run`,
  };
}

export function timedOut(url: string, functionId: string, timeoutMs: number): ErrorBody {
  return {
    code: RemoteCode.timeout,
    message: `${functionId} on the engine at ${url} gave no answer within ${timeoutMs} ms: it may or may not have run`,
  };
}

export function overloaded(url: string, functionId: string, what: string): ErrorBody {
  return {
    code: RemoteCode.overloaded,
    message: `${what} for the engine at ${url}, which is the limit: ${functionId} was not called, try again later`,
  };
}

/** @param what - e.g. `the call of math::add` */
export function tooLarge(url: string, what: string, bytes: number, limitBytes: number): ErrorBody {
  return {
    code: ErrorCode.payloadTooLarge,
    message: `${what} is a message of about ${bytes} bytes; the engine at ${url} accepts ${limitBytes} bytes: send less`,
  };
}

export function tooManyHops(functionId: string, limit: number): ErrorBody {
  return {
    code: RemoteCode.hopLimit,
    message: `the call of ${functionId} has crossed ${limit} bridges, which is the limit: do two engines forward it to each other?`,
  };
}
