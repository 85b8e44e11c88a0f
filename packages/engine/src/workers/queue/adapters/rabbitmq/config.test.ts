import { describe, expect, it } from 'vitest';
import { queueConfig } from '../../config.js';

describe('the configuration of the rabbitmq adapter', () => {
  const parse = (config: object): ReturnType<typeof queueConfig.safeParse> =>
    queueConfig.safeParse({ adapter: { name: 'rabbitmq', config } });

  it('has defaults for everything', () => {
    expect(parse({}).data?.adapter?.config).toEqual({
      amqp_url: 'amqp://localhost:5672',
      max_attempts: 3,
      prefetch_count: 10,
      queue_mode: 'standard',
    });
  });

  it.each([{ prefetch_count: 0 }, { max_attempts: 0 }, { priority_field: '' }, { amqpurl: 'x' }])(
    'refuses %o',
    (config) => {
      expect(parse(config).success).toBe(false);
    },
  );

  it('says what is wrong with an address, without showing it', () => {
    for (const [url, why] of [
      ['http://user:s3cret@host', 'must start with amqp://'],
      ['amqp://user:s3/cret@host', 'is no URL: write / as %2F'],
    ]) {
      const { error } = parse({ amqp_url: url });
      expect(error?.message).toContain(why);
      expect(error?.message).not.toContain('cret');
    }
    expect(parse({ amqp_url: 'amqp://user:s3%2Fcret@host/shop' }).success).toBe(true);
  });
});
