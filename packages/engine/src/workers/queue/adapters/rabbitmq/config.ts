import { z } from 'zod';

export const DEFAULT_AMQP_URL = 'amqp://localhost:5672';
/** Jobs at hand beside those that run. */
export const DEFAULT_PREFETCH = 10;
export const DEFAULT_MAX_ATTEMPTS = 3;

export const rabbitConfig = z.strictObject({
  amqp_url: z
    .string()
    .regex(/^amqps?:\/\//, 'must start with amqp:// or amqps://')
    .refine(
      (text) => URL.canParse(text),
      'is no URL: write / as %2F, # as %23, ? as %3F and @ as %40 in a user or password',
    )
    .default(DEFAULT_AMQP_URL)
    .describe('Address of the server: `amqp://USER:PASSWORD@HOST:PORT/VHOST`, `amqps://` for TLS.'),
  max_attempts: z
    .number()
    .int()
    .min(1)
    .default(DEFAULT_MAX_ATTEMPTS)
    .describe('Deliveries in all of a message that another program put into a queue without saying how many.'),
  prefetch_count: z
    .number()
    .int()
    .min(1)
    .max(65_535)
    .default(DEFAULT_PREFETCH)
    .describe('Jobs that one engine takes from the server beside those that run, per queue.'),
  queue_mode: z
    .string()
    .default('standard')
    .describe('`fifo`: subscriptions of topics are in order also where their subscriber does not ask for it.'),
  priority_field: z
    .string()
    .min(1)
    .nullish()
    .describe(
      'Top-level field of a message of a topic whose whole number is its priority. Subscriptions that are not in order are then classic queues with priorities.',
    ),
});

export type RabbitConfig = z.infer<typeof rabbitConfig>;
