/** Which worker provides a well-known trigger type, for the hint that names the worker to add. */
const PROVIDERS: ReadonlyMap<string, string> = new Map([
  ['http', 'iii-http'],
  ['cron', 'iii-cron'],
  ['subscribe', 'iii-pubsub'],
  ['state', 'iii-state'],
  ['durable:subscriber', 'iii-queue'],
  ['stream', 'iii-stream'],
  ['stream:join', 'iii-stream'],
  ['stream:leave', 'iii-stream'],
  ['log', 'iii-observability'],
  ['trace', 'iii-observability'],
  ['configuration', 'configuration'],
]);

export function workerForTriggerType(type: string): string | undefined {
  return PROVIDERS.get(type);
}
