import type { ErrorBody } from './errors.js';
import type { Payload } from './payload.js';

/** What a caller asks the router to do with an invocation. */
export type Action =
  { readonly type: 'call' } | { readonly type: 'void' } | { readonly type: 'enqueue'; readonly queue: string };

export const CALL: Action = { type: 'call' };
export const VOID: Action = { type: 'void' };

export interface InvokeFunctionFrame {
  readonly type: 'invokefunction';
  readonly functionId: string;
  readonly data: Payload;
  readonly invocationId: string | undefined;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
  readonly action: Action;
  readonly metadata: Payload | undefined;
  readonly namespace: string | undefined;
}

export interface InvocationResultFrame {
  readonly type: 'invocationresult';
  readonly invocationId: string;
  /** Absent when the handler returned nothing; an explicit null is `Payload.null`. */
  readonly result: Payload | undefined;
  readonly error: ErrorBody | undefined;
}

export interface RegisterFunctionFrame {
  readonly type: 'registerfunction';
  readonly id: string;
  readonly description: string | undefined;
  readonly requestFormat: unknown;
  readonly responseFormat: unknown;
  readonly metadata: unknown;
  /** Set for functions that live behind an HTTP address. */
  readonly invocation: unknown;
}

export interface UnregisterFunctionFrame {
  readonly type: 'unregisterfunction';
  readonly id: string;
}

export interface RegisterTriggerTypeFrame {
  readonly type: 'registertriggertype';
  readonly id: string;
  readonly description: string;
  readonly triggerRequestFormat: unknown;
  readonly callRequestFormat: unknown;
  readonly namespace: string | undefined;
}

export interface UnregisterTriggerTypeFrame {
  readonly type: 'unregistertriggertype';
  readonly id: string;
  readonly namespace: string | undefined;
}

export interface RegisterTriggerFrame {
  readonly type: 'registertrigger';
  readonly id: string;
  readonly triggerType: string;
  readonly functionId: string;
  readonly config: Payload;
  readonly metadata: Payload | undefined;
  readonly namespace: string | undefined;
  readonly triggerNamespace: string | undefined;
}

export interface UnregisterTriggerFrame {
  readonly type: 'unregistertrigger';
  readonly id: string;
}

export interface TriggerRegistrationResultFrame {
  readonly type: 'triggerregistrationresult';
  readonly id: string;
  readonly triggerType: string;
  readonly functionId: string;
  readonly error: ErrorBody | undefined;
}

export interface ReattachFrame {
  readonly type: 'reattach';
  readonly previousWorkerId: string;
  readonly reattachToken: string | undefined;
}

/** Accepted without an effect: `registerservice`, `pong`, frames only an engine sends. */
export interface IgnoredFrame {
  readonly type: 'ignored';
  readonly name: string;
}

/** A type that no client of any known era sends. */
export interface UnknownFrame {
  readonly type: 'unknown';
  readonly name: string;
}

export interface PingFrame {
  readonly type: 'ping';
}

/** Everything a worker may send, as one union on `type`. */
export type WorkerFrame =
  | InvokeFunctionFrame
  | InvocationResultFrame
  | RegisterFunctionFrame
  | UnregisterFunctionFrame
  | RegisterTriggerTypeFrame
  | UnregisterTriggerTypeFrame
  | RegisterTriggerFrame
  | UnregisterTriggerFrame
  | TriggerRegistrationResultFrame
  | ReattachFrame
  | PingFrame
  | IgnoredFrame
  | UnknownFrame;

/** A frame that could not be read. `invocationId` is set when someone waits for an answer to it. */
export interface BadFrame {
  readonly type: 'bad';
  readonly code: 'invalid_json' | 'invalid_frame';
  readonly message: string;
  /** The frame's own type, where readable: decides whether the sender or its caller is answered. */
  readonly frameType: string | undefined;
  readonly invocationId: string | undefined;
  readonly functionId: string | undefined;
}
