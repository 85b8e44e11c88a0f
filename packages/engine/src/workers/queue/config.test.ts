import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder } from '@trine/testing';
import { describe, expect, it } from 'vitest';
import { namedQueues, queueConfig, queueFile, validateQueueConfig } from './config.js';

const check = (queue: object): void => validateQueueConfig(queueConfig.parse({ queue_configs: { q: queue } }));

describe('the configuration of the queue', () => {
  it('refuses settings that do not go together, in the words of the reference', () => {
    expect(() => check({ type: 'lifo' })).toThrow("Queue 'q' has invalid type 'lifo'. Must be 'standard' or 'fifo'");
    expect(() => check({ type: 'fifo' })).toThrow("Queue 'q' is of type 'fifo' but 'message_group_field' is not set");
    expect(() => check({ concurrency: 0 })).toThrow("Queue 'q' has 'concurrency' 0; it must be at least 1");
    expect(() => check({ max_priority: 0 })).toThrow("Queue 'q' has 'max_priority' 0; it must be between 1 and 255");
    expect(() => check({ type: 'fifo', message_group_field: 'customer' })).not.toThrow();
  });

  it('refuses adapters of other versions and unknown keys', () => {
    for (const name of ['bridge']) {
      expect(() => validateQueueConfig(queueConfig.parse({ adapter: { name, config: {} } }))).toThrow(
        'not in this version',
      );
    }
    const rabbit = (config: object): boolean =>
      queueConfig.safeParse({ adapter: { name: 'rabbitmq', config } }).success;
    expect(rabbit({ amqp_url: 'amqp://rabbit:5672', prefetch_count: 5 })).toBe(true);
    expect(rabbit({ url: 'amqp://rabbit:5672' })).toBe(false);
    expect(rabbit({ amqp_url: 'rabbit:5672' })).toBe(false);
    expect(queueConfig.safeParse({ queue_configs: { q: { concurency: 1 } } }).success).toBe(false);
    expect(queueConfig.safeParse({ adapters: {} }).success).toBe(false);
  });

  it('takes a Redis by its URL, and refuses what cannot be one', () => {
    const check = (config: object): boolean => queueConfig.safeParse({ adapter: { name: 'redis', config } }).success;
    expect(check({})).toBe(true);
    expect(check({ redis_url: 'rediss://user:word@example.org:6380/2', prefix: 'shop', lease_ms: 10_000 })).toBe(true);
    expect(check({ redis_url: 'http://example.org' })).toBe(false);
    expect(check({ prefix: '{shop}' })).toBe(false);
    expect(check({ lease_ms: 10 })).toBe(false);
    expect(check({ url: 'redis://example.org' })).toBe(false);
  });

  it('always has the queue `default`, as configured where it is', () => {
    expect([...namedQueues(undefined).keys()]).toEqual(['default']);
    expect(
      namedQueues(queueConfig.parse({ queue_configs: { default: { concurrency: 2 } } })).get('default')?.concurrency,
    ).toBe(2);
  });

  it('stores in the file that is named, in memory only when asked, and never in a folder of the reference', async () => {
    const folder = await tempFolder();
    try {
      const file = (config: object): string | undefined =>
        queueFile(queueConfig.parse({ adapter: { name: 'builtin', config } }), folder.path);
      expect(file({})).toBeUndefined();
      expect(file({ store_method: 'in_memory' })).toBe(':memory:');
      expect(file({ store_method: 'file_based', file_path: 'q.db' })).toBe(join(folder.path, 'q.db'));
      await mkdir(join(folder.path, 'kv_store_data.db'));
      expect(() => file({ file_path: 'kv_store_data.db' })).toThrow(
        'is a folder that holds data of the reference engine',
      );
    } finally {
      await folder.remove();
    }
  });
});
