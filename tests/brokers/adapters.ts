import type { PostgresServer, RabbitServer, RedisServer } from '@trine/testing';

/** Block `adapter` of a queue worker. */
export interface Adapter {
  readonly name: 'postgres' | 'rabbitmq' | 'redis';
  readonly config: object;
}

let schemas = 0;

/** With a schema of its own unless one is named. */
export function onPostgres(server: PostgresServer, more: object = {}): Adapter {
  return { name: 'postgres', config: { database_url: server.url(), schema: `test_${++schemas}`, ...more } };
}

export function onRedis(server: RedisServer, more: object = {}): Adapter {
  return { name: 'redis', config: { redis_url: server.url, ...more } };
}

export function onRabbit(server: RabbitServer, vhost: string): Adapter {
  return { name: 'rabbitmq', config: { amqp_url: server.url(vhost) } };
}
