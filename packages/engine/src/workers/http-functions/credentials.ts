/** How a request shows who sent it. Secrets come from environment variables, read once, at registration. */
import { createHmac } from 'node:crypto';
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { TrineError } from '@trine/protocol';
import { z } from 'zod';
import { HttpFunctionCode, invalidInvocation } from './errors.js';

const variable = z.string().min(1);

export const authSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('hmac'), secret_key: variable }),
  z.object({ type: z.literal('bearer'), token_key: variable }),
  z.object({ type: z.literal('api_key'), header: z.string().min(1), value_key: variable }),
]);

/** What `sign` covers of a request. */
export interface SignedParts {
  /** Unix time in seconds, as sent in `x-iii-Timestamp`. */
  readonly timestamp: string;
  readonly body: Buffer;
}

/** Returns the header that goes with one request. */
export type Credentials = (request: SignedParts) => readonly [name: string, value: string];

/**
 * Reads the secret that a registration names.
 *
 * @throws TrineError when its environment variable is not set, or cannot be sent as a header
 */
export function credentialsOf(auth: z.infer<typeof authSchema>, env: NodeJS.ProcessEnv): Credentials {
  switch (auth.type) {
    case 'hmac': {
      const secret = read(env, auth.secret_key, HttpFunctionCode.secretNotFound, 'Secret not found');
      return ({ timestamp, body }) => ['x-iii-Signature', `sha256=${signature(secret, timestamp, body)}`];
    }
    case 'bearer': {
      const token = read(env, auth.token_key, HttpFunctionCode.tokenNotFound, 'Token not found');
      return constant('Authorization', `Bearer ${token}`, auth.token_key);
    }
    case 'api_key': {
      const value = read(env, auth.value_key, HttpFunctionCode.apiKeyNotFound, 'API key not found');
      return constant(auth.header, value, auth.value_key);
    }
  }
}

/** Hexadecimal HMAC-SHA256 of `{timestamp}:{base64(body)}`. */
function signature(secret: string, timestamp: string, body: Buffer): string {
  return createHmac('sha256', secret)
    .update(`${timestamp}:${body.toString('base64')}`)
    .digest('hex');
}

function constant(name: string, value: string, variableName: string): Credentials {
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  } catch {
    // Not the reason itself: it would show the secret.
    throw invalidInvocation(`auth: the value of ${variableName} cannot be sent in a header named '${name}'`);
  }
  return () => [name, value];
}

function read(env: NodeJS.ProcessEnv, name: string, code: string, message: string): string {
  const value = env[name];
  if (value === undefined || value === '') throw new TrineError(code, `${message}: ${name}`);
  return value;
}
