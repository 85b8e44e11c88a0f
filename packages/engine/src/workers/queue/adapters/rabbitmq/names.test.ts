import { describe, expect, it } from 'vitest';
import { levelFor, levelsIn, MAX_LEVEL, namesOf } from './names.js';

const queue = (name: string): ReturnType<typeof namesOf> =>
  namesOf({ kind: 'queue', name, namespace: '', functionId: '' });
const subscription = (functionId: string, namespace = 'default'): ReturnType<typeof namesOf> =>
  namesOf({ kind: 'subscription', name: 'orders', namespace, functionId });

describe('names in RabbitMQ', () => {
  it('are those of the reference for jobs, dead letters and topics', () => {
    expect(queue('mail')).toMatchObject({
      exchange: 'iii.__fn_queue::mail',
      queue: 'iii.__fn_queue::mail.queue',
      routingKey: 'mail',
      deadExchange: 'iii.__fn_queue::mail::dlq',
      dead: 'iii.__fn_queue::mail::dlq.queue',
    });
    expect(subscription('shop::paid')).toMatchObject({
      exchange: 'iii.orders.exchange',
      queue: 'iii.orders.shop::paid@default.queue',
      dead: 'iii.orders.shop::paid@default.dlq',
    });
    expect(subscription('a@b', 'c').queue).not.toBe(subscription('a', 'b@c').queue);
  });

  it('fit into a short string, and long ones stay apart', () => {
    const names = ['x'.repeat(300), `${'x'.repeat(300)}y`, 'é'.repeat(200)].map(queue);
    for (const each of names) {
      for (const name of [each.queue, each.dead, each.routingKey, each.delay(MAX_LEVEL)]) {
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
        expect(name).not.toContain('\uFFFD');
      }
    }
    expect(new Set(names.map(({ queue: name }) => name)).size).toBe(3);
  });
});

describe('delay levels', () => {
  it('are the largest that fit', () => {
    expect([999, 1_000, 1_999, 2_000, 3_600_000].map(levelFor)).toEqual([undefined, 0, 0, 1, 11]);
    expect(levelFor(365 * 24 * 3_600_000)).toBe(MAX_LEVEL);
    expect(levelsIn((1 << 0) | (1 << 4) | (1 << MAX_LEVEL))).toEqual([0, 4, MAX_LEVEL]);
  });
});
