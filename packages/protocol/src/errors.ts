/** An error as it travels on the wire. `stacktrace` is left out when unknown, never null. */
export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly stacktrace?: string;
}

export interface TrineErrorOptions {
  readonly cause?: unknown;
  /** True when the same request may succeed later without a change. */
  readonly retryable?: boolean;
}

/**
 * An error with a public, documented code.
 *
 * @param code - one of the codes in `ErrorCode`, or a worker's own
 * @param message - what happened, where, and what to do
 * @example
 * throw new TrineError('function_not_found', 'Function math::add not found');
 */
export class TrineError extends Error {
  readonly code: string;
  readonly retryable: boolean;

  constructor(code: string, message: string, options: TrineErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'TrineError';
    this.code = code;
    this.retryable = options.retryable ?? false;
  }

  toBody(): ErrorBody {
    return { code: this.code, message: this.message };
  }
}

/**
 * Any thrown thing as a wire error: a `TrineError` keeps its code, everything else becomes
 * `fallbackCode` with the message of the error. Stack traces stay inside the process.
 */
export function toErrorBody(error: unknown, fallbackCode = 'invocation_failed'): ErrorBody {
  if (error instanceof TrineError) return error.toBody();
  if (isErrorBody(error)) {
    return error.stacktrace === undefined
      ? { code: error.code, message: error.message }
      : { code: error.code, message: error.message, stacktrace: error.stacktrace };
  }
  return { code: fallbackCode, message: error instanceof Error ? error.message : String(error) };
}

function isErrorBody(value: unknown): value is ErrorBody {
  if (typeof value !== 'object' || value === null) return false;
  const body = value as Record<string, unknown>;
  return typeof body['code'] === 'string' && typeof body['message'] === 'string';
}

/** The catalogue of codes that the engine itself answers with (public, documented, tested). */
export const ErrorCode = {
  /** Nobody serves that function id; it did not run. */
  functionNotFound: 'function_not_found',
  /** The function ran and failed; the message is the one of its error. */
  invocationFailed: 'invocation_failed',
  /** The connection of the worker ended while it ran the function; it may or may not have finished. */
  invocationStopped: 'invocation_stopped',
  /** No answer within the time limit of the call. */
  invocationTimeout: 'invocation_timeout',
  /** The caller gave the call up. */
  invocationCancelled: 'invocation_cancelled',
  /** The worker takes no more: too much waits to be sent to it. */
  channelSendFailed: 'channel_send_failed',
  /** The caller has as many calls in flight as one worker may have. */
  tooManyCalls: 'too_many_calls',
  /** The worker has as many channels open as one worker may have. */
  tooManyChannels: 'too_many_channels',
  /** The end of a channel was taken before, its channel is over, or nothing goes by that id and key. */
  channelUnavailable: 'channel_unavailable',
  /** A channel ended before everything was delivered; the message names the reason. */
  channelAborted: 'channel_aborted',
  /** The worker has registered as much as one worker may. */
  tooManyRegistrations: 'too_many_registrations',
  /** The message is larger than the receiving client accepts. */
  payloadTooLarge: 'payload_too_large',
  /** The frame is no JSON. */
  invalidJson: 'invalid_json',
  /** A field of the frame is missing or of another type. */
  invalidFrame: 'invalid_frame',
  /** The input of a built-in function does not fit its schema. */
  deserialization: 'deserialization_error',
  /** A result cannot be written as JSON. */
  serialization: 'serialization_error',
  /** The job was not accepted: no such queue, its group is missing, or it could not be stored. */
  enqueue: 'enqueue_error',
  /** Nobody provides that trigger type. */
  triggerTypeNotFound: 'trigger_type_not_found',
  /** The provider of the trigger type refused the trigger. */
  triggerRegistrationFailed: 'trigger_registration_failed',
  /** The trigger could not be taken back. */
  unregisterFailed: 'unregister_failed',
  /** A namespace must not be blank. */
  invalidNamespace: 'INVALID_NAMESPACE',
  /** The caller may not call or see that function. */
  forbidden: 'FORBIDDEN',
  /** What was asked about is not registered. */
  notFound: 'NOT_FOUND',
  /** The arguments contradict each other, or one is missing. */
  invalidArguments: 'INVALID_ARGUMENTS',
} as const;

/** The message for a call of an id that nobody serves (the text clients match on). */
export function functionNotFound(id: string, namespace = DEFAULT_NAMESPACE): TrineError {
  const where = namespace === DEFAULT_NAMESPACE ? '' : ` in namespace ${namespace}`;
  return new TrineError(ErrorCode.functionNotFound, `Function ${id} not found${where}`);
}

/** The namespace that everybody lives in until someone asks for another. */
export const DEFAULT_NAMESPACE = 'default';

/** Was a namespace named and left blank? Hot path: every call of a newer client names one. */
export function isBlank(namespace: string | undefined): boolean {
  if (namespace === undefined || namespace.charCodeAt(0) > 0x20) return false;
  return namespace.trim() === '';
}

/** @param field - the field that was named and left blank */
export function blankNamespace(field: string): TrineError {
  const message = `\`${field}\` is empty: it was named and left blank. Give it a name, or omit it to use \`default\`.`;
  return new TrineError(ErrorCode.invalidNamespace, message);
}
