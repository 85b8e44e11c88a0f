import { TrineError } from '@trine/protocol';

/** The codes of functions behind HTTP addresses. */
export const HttpFunctionCode = {
  /** The address of the function is not allowed: no URL, not https, not in the allowlist, private, or its name is unknown. */
  urlValidationFailed: 'url_validation_failed',
  /** What was registered as `invocation` has a member that is missing or not usable. */
  invalidInvocation: 'invalid_invocation',
  /** The environment variable of `auth.secret_key` is not set. */
  secretNotFound: 'secret_not_found',
  /** The environment variable of `auth.token_key` is not set. */
  tokenNotFound: 'token_not_found',
  /** The environment variable of `auth.value_key` is not set. */
  apiKeyNotFound: 'api_key_not_found',
  /** No response came: connection, TLS or time; the request may or may not have been handled. */
  requestFailed: 'http_request_failed',
  /** The response broke off, or its body is too large. */
  responseFailed: 'http_response_failed',
  /** The response reports success and its body is not JSON. */
  invalidResponse: 'invalid_response',
  /** The response has a status of 400 or above and names no code of its own. */
  httpError: 'http_error',
} as const;

/** An address that the configuration does not allow. Callers learn the message; the hint is for the log. */
export class UrlRefusedError extends TrineError {
  readonly hint: string;

  constructor(
    message: 'Invalid URL' | 'HTTPS is required' | 'URL not in allowlist' | 'Private IP blocked' | 'DNS lookup failed',
    hint: string,
  ) {
    super(HttpFunctionCode.urlValidationFailed, message);
    this.hint = hint;
  }
}

export function invalidInvocation(message: string): TrineError {
  return new TrineError(HttpFunctionCode.invalidInvocation, message);
}

/** @param where - method and address, without its query */
export function requestFailed(where: string, cause: unknown): TrineError {
  const message = `${where}: ${chainOf(cause)}`;
  return new TrineError(HttpFunctionCode.requestFailed, message, { cause, retryable: true });
}

export function responseFailed(where: string, cause: unknown): TrineError {
  return new TrineError(HttpFunctionCode.responseFailed, `the response of ${where}: ${chainOf(cause)}`, { cause });
}

export function invalidResponse(detail: string): TrineError {
  return new TrineError(HttpFunctionCode.invalidResponse, detail);
}

/** The messages of an error and its causes, joined by `: `. */
function chainOf(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error; at instanceof Error && parts.length < MAX_CAUSES; at = at.cause) {
    // Where several addresses were tried, the error of the whole has no text of its own.
    const text =
      at instanceof AggregateError ? at.errors.map((each) => (each as Error).message).join(', ') : at.message;
    parts.push(text === '' ? at.name : text);
  }
  return parts.length === 0 ? String(error) : parts.join(': ');
}

/** Causes told of in a message: chains are short, and may be circular. */
const MAX_CAUSES = 5;
