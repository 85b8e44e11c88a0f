import type { Payload } from '@trine/protocol';
import { z } from 'zod';
import type { TriggerBinding } from '../../core/worker-host.js';
import { invalidRoute } from './errors.js';
import { parsePattern, type PathPattern } from './path-pattern.js';

/** Methods that a route can have, in the order of `allow` headers. */
export const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'] as const;

const known: ReadonlySet<string> = new Set(METHODS);

/** One `http` trigger, ready to serve. */
export interface Route {
  readonly triggerId: string;
  readonly workerId: string | undefined;
  readonly functionId: string;
  /** Where function, condition and middleware are looked up. */
  readonly namespace: string;
  readonly method: string;
  /** As registered. */
  readonly path: string;
  readonly pattern: PathPattern;
  readonly conditionId: string | undefined;
  readonly middlewareIds: readonly string[];
  readonly metadata: Payload | undefined;
  /** JSON text of the path and of the request object's `trigger`: the same for every request. */
  readonly pathJson: string;
  readonly triggerJson: string;
}

const routeConfig = z.object({
  api_path: z.string({ error: 'api_path is required for http triggers' }),
  http_method: z.string().catch('GET'),
  condition_function_id: z.string().min(1).optional().catch(undefined),
  middleware_function_ids: z.array(z.unknown()).catch([]),
});

/**
 * Reads a trigger's config. Fields besides those of an http trigger are ignored.
 *
 * @throws TrineError `invalid_route`, with a message for the worker that registers
 */
export function readRoute(trigger: TriggerBinding): Route {
  const parsed = routeConfig.safeParse(trigger.config ?? {});
  if (!parsed.success) throw invalidRoute('api_path is required for http triggers');
  const { api_path: path, http_method, condition_function_id, middleware_function_ids } = parsed.data;
  const method = http_method.toUpperCase();
  if (!known.has(method)) {
    throw invalidRoute(`Unsupported HTTP method: ${http_method} (of '${path}'); use one of ${METHODS.join(', ')}`);
  }
  const pattern = parsePattern(path);
  const pathJson = JSON.stringify(path);
  return {
    triggerId: trigger.id,
    workerId: trigger.workerId,
    functionId: trigger.functionId,
    namespace: trigger.namespace,
    method,
    path,
    pattern,
    conditionId: condition_function_id,
    middlewareIds: middleware_function_ids.filter((id) => typeof id === 'string'),
    metadata: trigger.metadata,
    pathJson,
    triggerJson: `{"type":"http","path":${pathJson},"method":"${method}"}`,
  };
}
