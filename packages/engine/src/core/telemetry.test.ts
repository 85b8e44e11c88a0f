import { describe, expect, it } from 'vitest';
import { decodeTelemetry, levelOf, type LogRecord } from './telemetry.js';

const frame = (prefix: string, body: unknown): Buffer =>
  Buffer.from(prefix + (typeof body === 'string' ? body : JSON.stringify(body)));
const logs = (record: unknown, resource: unknown[] = []): LogRecord => {
  const body = { resourceLogs: [{ resource: { attributes: resource }, scopeLogs: [{ logRecords: [record] }] }] };
  const decoded = decodeTelemetry(frame('LOGS', body));
  if (decoded.kind !== 'logs') throw new Error(`decoded as ${decoded.kind}`);
  return decoded.records[0] as LogRecord;
};

describe('telemetry frames', () => {
  it('counts spans, and metrics of the kinds that are read', () => {
    expect(
      decodeTelemetry(
        frame('OTLP', { resourceSpans: [{ scopeSpans: [{ spans: [{}, {}] }, {}] }, { scopeSpans: null }] }),
      ),
    ).toEqual({ kind: 'spans', count: 2 });
    const metrics = [{ name: 'a', gauge: {} }, { sum: {} }, { histogram: {} }, { summary: {} }, 7, null];
    expect(decodeTelemetry(frame('MTRC', { resourceMetrics: [{ scopeMetrics: [{ metrics }] }] }))).toEqual({
      kind: 'metrics',
      count: 3,
    });
    expect(decodeTelemetry(frame('OTLP', '{}'))).toEqual({ kind: 'spans', count: 0 });
  });

  it('says why a frame is bad and never throws', () => {
    const bad = (data: Buffer): string => {
      const decoded = decodeTelemetry(data);
      return decoded.kind === 'bad' ? decoded.reason : decoded.kind;
    };
    expect(bad(Buffer.alloc(0))).toContain('unknown prefix');
    expect(bad(Buffer.from('XXXX{}'))).toContain('unknown prefix');
    expect(bad(Buffer.from('OTLP'))).toContain('not JSON');
    expect(bad(Buffer.from('MTRC[]'))).toContain('not an object');
    expect(bad(Buffer.from([...Buffer.from('LOGS{"a":"'), 0xff, 0xfe, 0x22, 0x7d]))).toContain('not UTF-8');
    expect(bad(frame('LOGS', `${'['.repeat(200_000)}`))).toContain('not JSON');
    for (const odd of [null, 7, 'x', [], [null], [[]], { a: 1 }]) {
      expect(bad(frame('LOGS', { resourceLogs: odd }))).toBe('logs');
      expect(
        bad(
          frame('LOGS', {
            resourceLogs: [
              { resource: odd, scopeLogs: [{ logRecords: [{ body: odd, attributes: odd, severityNumber: odd }] }] },
            ],
          }),
        ),
      ).toBe('logs');
      expect(bad(frame('OTLP', { resourceSpans: [{ scopeSpans: odd }] }))).toBe('spans');
      expect(bad(frame('MTRC', { resourceMetrics: [{ scopeMetrics: [{ metrics: odd }] }] }))).toBe('metrics');
    }
  });

  it('keeps the JSON types of log attributes', () => {
    const attributes = [
      { key: 'text', value: { stringValue: 'a' } },
      { key: 'yes', value: { boolValue: true } },
      { key: 'int', value: { intValue: '12' } },
      { key: 'long', value: { intValue: '9223372036854775807' } },
      { key: 'number', value: { intValue: 3 } },
      { key: 'double', value: { doubleValue: 1.5 } },
      { key: 'none', value: {} },
      { key: 'bytes', value: { bytesValue: 'AAAA' } },
      { key: '__proto__', value: { stringValue: 'mine' } },
      { key: 'list', value: { arrayValue: { values: [{ intValue: 1 }, {}] } } },
      {
        key: 'log.data',
        value: {
          kvlistValue: {
            values: [
              { key: 'code', value: { stringValue: 'iii' } },
              { key: 'deep', value: { kvlistValue: {} } },
            ],
          },
        },
      },
      { value: { stringValue: 'without a key' } },
    ];
    const read = logs({ attributes }).attributes;
    expect(JSON.parse(JSON.stringify(read))).toEqual(
      JSON.parse(
        '{"text":"a","yes":true,"int":12,"long":"9223372036854775807","number":3,"double":1.5,"none":null,"bytes":null,"__proto__":"mine","list":[1,null],"log.data":{"code":"iii","deep":{}}}',
      ),
    );
    expect(Object.getPrototypeOf(read)).toBeNull();
  });

  it('reads what is absent, empty or of zeros as absent', () => {
    expect(logs({ traceId: '', spanId: '0000000000000000' })).toEqual({
      timeUnixNano: 0n,
      severity: 0,
      level: 'info',
      body: '',
      attributes: Object.create(null) as object,
      serviceName: 'unknown',
    });
    const record = logs({ observedTimeUnixNano: 5, traceId: 'ABCD', severityNumber: 17, body: { intValue: 4 } }, [
      { key: 'service.name', value: { stringValue: 'link' } },
    ]);
    expect(record).toMatchObject({ timeUnixNano: 5n, traceId: 'abcd', level: 'error', body: '4', serviceName: 'link' });
  });

  it('maps severity numbers to levels', () => {
    expect([0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 24, 25, -1].map(levelOf)).toEqual([
      'info',
      'trace',
      'trace',
      'debug',
      'debug',
      'info',
      'info',
      'warn',
      'warn',
      'error',
      'error',
      'info',
      'info',
    ]);
  });
});
