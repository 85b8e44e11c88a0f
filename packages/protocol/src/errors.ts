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
  functionNotFound: 'function_not_found',
  invocationFailed: 'invocation_failed',
  invocationStopped: 'invocation_stopped',
  invocationTimeout: 'invocation_timeout',
  channelSendFailed: 'channel_send_failed',
  tooManyCalls: 'too_many_calls',
  payloadTooLarge: 'payload_too_large',
  invalidJson: 'invalid_json',
  invalidFrame: 'invalid_frame',
  deserialization: 'deserialization_error',
  serialization: 'serialization_error',
  enqueue: 'enqueue_error',
  triggerTypeNotFound: 'trigger_type_not_found',
  triggerRegistrationFailed: 'trigger_registration_failed',
  unregisterFailed: 'unregister_failed',
  invalidNamespace: 'INVALID_NAMESPACE',
  forbidden: 'FORBIDDEN',
  notFound: 'NOT_FOUND',
  invalidArguments: 'INVALID_ARGUMENTS',
} as const;

/** The message for a call of an id that nobody serves (the text clients match on). */
export function functionNotFound(id: string, namespace = DEFAULT_NAMESPACE): TrineError {
  const where = namespace === DEFAULT_NAMESPACE ? '' : ` in namespace ${namespace}`;
  return new TrineError(ErrorCode.functionNotFound, `Function ${id} not found${where}`);
}

/** The namespace that everybody lives in until someone asks for another. */
export const DEFAULT_NAMESPACE = 'default';
