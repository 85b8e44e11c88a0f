import { TrineError } from '@trine/protocol';
import { KeptAsideError } from '../../core/worker-host.js';

/** The codes of answers that this worker makes itself (`error.code` of the envelope) and of its start. */
export const HttpCode = {
  /** 404: no route has this path. */
  notFound: 'NOT_FOUND',
  /** 405: routes have this path, none of them this method; see the `allow` header. */
  methodNotAllowed: 'METHOD_NOT_ALLOWED',
  /** 413: the body is larger than `body_limit`. */
  payloadTooLarge: 'PAYLOAD_TOO_LARGE',
  /** 422: the route's condition function answered false. */
  conditionNotMet: 'CONDITION_NOT_MET',
  /** 500: what the function answered cannot be sent, or its response channel was cut before the first bytes. */
  internal: 'INTERNAL_ERROR',
  /** 503: as many requests wait as may wait, or the engine is stopping. */
  unavailable: 'SERVICE_UNAVAILABLE',
  /** 504: no answer within `default_timeout`. */
  timeout: 'TIMEOUT',
  /** 504: a middleware function gave no answer in time. */
  middlewareTimeout: 'MIDDLEWARE_TIMEOUT',
  /** A trigger's config is refused. */
  invalidRoute: 'invalid_route',
  /** A trigger's path has the shape of a registered one with other parameter names. */
  routeConflict: 'route_conflict',
} as const;

export function invalidRoute(message: string): TrineError {
  return new TrineError(HttpCode.invalidRoute, message);
}

/** @param route - `GET /a/:b`, path as registered */
/** The route is kept and served when nothing is in its way any more. */
export function routeConflict(route: string, existing: string): KeptAsideError {
  return new KeptAsideError(
    HttpCode.routeConflict,
    `Route '${route}' conflicts with already-registered route '${existing}': ` +
      'routes with identical structure but different path-parameter names are not supported',
  );
}
