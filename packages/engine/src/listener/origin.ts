import type { IncomingMessage } from 'node:http';

/**
 * May the page that opens this connection do so? Browsers name their origin, other clients name none
 * and are let through: the list keeps foreign pages out, not programs.
 *
 * @param listener - with the origins it allows; undefined = any
 */
export function originAllowed(
  listener: { readonly allowedOrigins?: readonly string[] | undefined },
  request: IncomingMessage,
): boolean {
  const { allowedOrigins } = listener;
  const origin = request.headers.origin;
  if (allowedOrigins === undefined || origin === undefined) return true;
  return allowedOrigins.some((allowed) => allowed === '*' || allowed.toLowerCase() === origin.toLowerCase());
}
