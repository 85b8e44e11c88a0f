import { z } from 'zod';
import type { TriggerTypeDefinition, WorkerHost } from '../../core/worker-host.js';
import { METHODS, readRoute, type Route } from './route.js';
import type { Routes } from './routes.js';

const configSchema = z.object({
  api_path: z
    .string()
    .describe('Path of the route: /users/:id, /users/{id}, /files/*rest. Leading slashes do not count.'),
  http_method: z.enum(METHODS).nullable().default('GET').describe('Default GET.'),
  condition_function_id: z.string().nullish().describe('Asked with the request first; exactly false answers 422.'),
  middleware_function_ids: z.array(z.string()).optional().describe('Asked in this order before the function.'),
});

const strings = z.record(z.string(), z.string());

const requestSchema = z.object({
  query_params: strings.describe('Decoded; of repeated names the last.'),
  path_params: strings.describe('As sent, not decoded.'),
  headers: strings.describe('Lower-case names; of repeated ones the last.'),
  path: z.string().describe('The path of the route, as registered.'),
  method: z.string(),
  body: z.unknown().describe('A JSON body; otherwise null.'),
});

const responseSchema = z.object({
  status_code: z.int().min(0).max(65_535).nullish().describe('Default 200.'),
  headers: z
    .union([strings, z.array(z.string())])
    .nullish()
    .describe('An object, or `Name: value` lines, which may repeat a name.'),
  body: z.unknown().optional().describe('Sent as JSON; a string is sent as it is when headers name a content type.'),
});

export function httpTriggerType(host: WorkerHost, routes: Routes): TriggerTypeDefinition {
  return {
    id: 'http',
    description: 'HTTP API trigger',
    configSchema,
    requestSchema,
    responseSchema,
    bind(trigger) {
      let route: Route;
      try {
        route = readRoute(trigger);
      } catch (error) {
        // The trigger is gone with what it said before.
        routes.forget(trigger.id);
        throw error;
      }
      routes.add(route);
      logRegistered(host, route);
    },
    unbind(trigger, reason) {
      const route = routes.remove(trigger.id, trigger.workerId);
      if (route !== undefined && reason !== 'stopped') {
        host.log.info(`Unregistering router ${route.method}:${route.path.replace(/^\/+/, '')}`);
      }
    },
  };
}

export function logRegistered(host: WorkerHost, { method, path, functionId }: Route): void {
  host.log.info(`[REGISTERED] Endpoint ${method} ${path} → ${functionId}`);
}
