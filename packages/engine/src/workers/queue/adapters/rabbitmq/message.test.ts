import type { ConsumeMessage } from 'amqplib';
import { describe, expect, it } from 'vitest';
import type { LineSpec } from '../index.js';
import { decode, encode, publishNumber, type Encoded, type Outgoing } from './message.js';

const QUEUE = { kind: 'queue', name: 'q', namespace: '', functionId: '', settings: undefined } as const;
const NOW = 1_000;
const job: Outgoing = {
  receipt: 'r-1',
  functionId: 'f',
  namespace: 'default',
  group: '"g"',
  data: '{"price":1.0,"text":"é"}',
  metadata: '{"user":7}',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  baggage: 'a=b',
  createdAt: 5,
  maxAttempts: 4,
  backoffMs: 20,
  extras: { priority: 3 },
  attempts: 2,
  lost: 1,
  failures: [{ at: 4, error: 'broken' }],
};

function message({ content, options }: Encoded, redelivered = false): ConsumeMessage {
  return { content, fields: { redelivered }, properties: { ...options } } as unknown as ConsumeMessage;
}
const read = (from: ConsumeMessage, line: LineSpec = QUEUE): ReturnType<typeof decode> =>
  decode(from, { settings: undefined, ...line }, 1, 3, NOW);

describe('a job as a message', () => {
  it('comes back as it was, with the payload as the whole body', () => {
    const encoded = encode(job, { dueAt: 9, delayMs: 4 });
    expect(encoded.content.toString()).toBe(job.data);
    expect(encoded.options).toMatchObject({
      persistent: true,
      mandatory: true,
      messageId: 'r-1',
      priority: 3,
      headers: { function_id: 'f', namespace: 'default', 'x-attempt': 2 },
    });
    expect(read(message(encoded))).toMatchObject({ dueAt: 9, delayMs: 4, job: { ...job, redelivered: true } });
  });

  it('carries what headers have no room for', () => {
    const long = 'ü'.repeat(50_000);
    const large = {
      ...job,
      receipt: 'r'.repeat(300),
      functionId: long,
      baggage: long,
      metadata: JSON.stringify(long),
      failures: Array.from({ length: 50 }, (_, at) => ({ at, error: 'x'.repeat(4_096) })),
    };
    const encoded = encode(large);
    expect(JSON.stringify(encoded.options.headers).length).toBeLessThan(16_384);
    expect(encoded.options.messageId).toBeUndefined();
    expect(read(message(encoded)).job).toMatchObject(large);
  });
});

describe('a message of another program', () => {
  const other = (body: string, headers: object = {}, messageId = 'm'): ConsumeMessage =>
    message({ content: Buffer.from(body), options: { headers, messageId } });

  it('is run if it says for whom, with the attempts of the configuration', () => {
    const { job: made, unreadable } = read(other('{"a": 1}', { function_id: 'g', 'x-attempt': 1 }));
    expect(unreadable).toBeUndefined();
    expect(made).toMatchObject({ receipt: 'm', functionId: 'g', data: '{"a": 1}', maxAttempts: 3, attempts: 1 });
  });

  it('is taken out of the envelope of the reference for a topic', () => {
    const line = { kind: 'subscription', name: 't', namespace: 'default', functionId: 'f' } as const;
    const body = '{"id":"1","topic":"t","data":{"a":1},"attempts_made":0}';
    expect(read(other(body, { 'x-iii-job-id': '1' }), line).job).toMatchObject({ functionId: 'f', data: '{"a":1}' });
  });

  it('cannot be read when it is no JSON or names no function', () => {
    expect(read(other('{', { function_id: 'g' }))).toMatchObject({
      unreadable: 'its body is not JSON',
      job: { data: '"{"' },
    });
    expect(read(other('{}')).unreadable).toBe('it has no header function_id');
  });

  it('is not known by its correlation id: the end of one would be taken for that of others', () => {
    const named = (from: ConsumeMessage): ConsumeMessage => ({
      ...from,
      properties: { ...from.properties, correlationId: 'order-7' },
    });
    expect(publishNumber(named(other('{"a":1}', { function_id: 'g' })))).toBe('');
    expect(publishNumber(named(message(encode(job))))).toBe('order-7');
    expect(publishNumber(named(message(encode({ ...job, metadata: JSON.stringify('x'.repeat(20_000)) }))))).toBe(
      'order-7',
    );
  });

  it('cannot do harm by saying that it is ours: an error would end the connection at each delivery', () => {
    for (const text of ['{', 'null', '[1]', '7']) {
      expect(read(other('{"a":1}', { 'x-trine': text, function_id: 'g' }))).toMatchObject({
        unreadable: undefined,
        job: { functionId: 'g', data: '{"a":1}', maxAttempts: 3 },
      });
      expect(read(other('{', { 'x-trine': text })).unreadable).toBe('its body is not JSON');
    }
    for (const at of [-1, 0, 3, 1_000, NaN])
      expect(read(other('[1]', { 'x-trine-at': at, function_id: 'g' })).job.data).toBe('[1]');
  });

  it('has a receipt of its own for each subscription, the same each time', () => {
    const receipt = (functionId: string): string =>
      read(other('1'), { kind: 'subscription', name: 't', namespace: 'default', functionId }).job.receipt;
    expect(receipt('f')).toBe(receipt('f'));
    expect(receipt('f')).not.toBe(receipt('g'));
  });
});
