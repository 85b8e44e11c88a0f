import type { WorkerHost } from '../../../core/worker-host.js';
import type { QueueWorkerConfig } from '../config.js';
import { openBuiltin } from './builtin/durability.js';
import type { Broker, BrokerEvents } from './index.js';
import { rabbitConfig } from './rabbitmq/config.js';

/**
 * Opens the broker that a configuration names. Adapters for servers elsewhere are loaded here, so that
 * an engine that names none loads no driver.
 *
 * @param file - of the builtin adapter; undefined = the engine's own
 */
export async function openBroker(
  host: WorkerHost,
  config: QueueWorkerConfig,
  file: string | undefined,
  events: BrokerEvents,
): Promise<Broker> {
  const adapter = config?.adapter ?? { name: 'builtin' };
  switch (adapter.name) {
    case 'builtin':
      return openBuiltin(host, file, events);
    case 'redis': {
      const { openRedis } = await import('./redis/broker.js');
      return openRedis(host, adapter.config, events);
    }
    case 'postgres': {
      const { openPostgres } = await import('./postgres/broker.js');
      return openPostgres(host, adapter.config, events);
    }
    case 'rabbitmq': {
      const { openRabbit } = await import('./rabbitmq/broker.js');
      return openRabbit(host, rabbitConfig.parse(adapter.config ?? {}), events);
    }
    default:
      throw new Error(`adapter.name: the ${adapter.name} adapter of queue is not in this version: use builtin`);
  }
}
