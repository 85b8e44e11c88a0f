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
  it('reads spans with their events, links and resource', () => {
    const span = {
      traceId: '4BF92F3577B34DA6A3CE929D0E0E4736',
      spanId: '623a99a94e6b8b9f',
      parentSpanId: '00f067aa0ba902b7',
      name: 'execute a::b',
      kind: 1,
      startTimeUnixNano: '1795461193773000001',
      endTimeUnixNano: '1795461193776206626',
      attributes: [
        { key: 'flag', value: { boolValue: true } },
        { key: 'n', value: { intValue: '12' } },
        { key: 'none', value: {} },
        { key: 'list', value: { arrayValue: { values: [{ intValue: 1 }] } } },
        { key: 'Authorization', value: { stringValue: 'Bearer x' } },
      ],
      events: [
        { name: 'e', timeUnixNano: 5, attributes: [{ key: 'password', value: { stringValue: 'p' } }] },
        { attributes: null },
      ],
      links: [{ traceId: 'ab', spanId: 'cd', traceState: 's' }],
      status: { code: 2, message: 'went wrong' },
      flags: 257,
      traceState: 'k=v',
    };
    const frameOf = (spans: unknown): Buffer =>
      frame('OTLP', {
        resourceSpans: [
          {
            resource: { attributes: [{ key: 'service.name', value: { stringValue: 'link' } }] },
            scopeSpans: [{ scope: { name: 'tracer', version: null }, spans }],
          },
        ],
      });
    expect(decodeTelemetry(frameOf([span]))).toEqual({
      kind: 'spans',
      spans: [
        {
          traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
          spanId: '623a99a94e6b8b9f',
          parentSpanId: '00f067aa0ba902b7',
          name: 'execute a::b',
          startUnixNano: 1795461193773000001n,
          endUnixNano: 1795461193776206626n,
          status: 'error',
          statusDescription: 'went wrong',
          attributes: [
            ['flag', 'true'],
            ['n', '12'],
            ['none', ''],
            ['list', '[1]'],
            ['Authorization', '[REDACTED]'],
          ],
          serviceName: 'link',
          events: [
            { name: 'e', timeUnixNano: 5n, attributes: [['password', '[REDACTED]']] },
            { name: '', timeUnixNano: 0n, attributes: [] },
          ],
          links: [{ traceId: 'ab', spanId: 'cd', traceState: 's', attributes: [] }],
          scopeName: 'tracer',
          scopeVersion: '',
          flags: 257,
          traceState: 'k=v',
        },
      ],
    });
    // Without ids of its own a span belongs nowhere; parents of zeros are none.
    const odd = [
      { ...span, traceId: '' },
      { ...span, spanId: 7 },
      { ...span, parentSpanId: '0000000000000000' },
    ];
    expect(decodeTelemetry(frameOf(odd))).toMatchObject({ spans: [{ parentSpanId: undefined }] });
    expect(decodeTelemetry(frame('OTLP', '{}'))).toEqual({ kind: 'spans', spans: [] });
  });

  it('cuts long texts, and attributes beyond their number', () => {
    const attributes = Array.from({ length: 200 }, (_, n) => ({
      key: `k${n}`,
      value: { stringValue: 'x'.repeat(20_000) },
    }));
    const span = { traceId: 'aa', spanId: 'bb', name: 'n'.repeat(2_000), attributes };
    const decoded = decodeTelemetry(frame('OTLP', { resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] }));
    if (decoded.kind !== 'spans') throw new Error(decoded.kind);
    expect(decoded.spans[0]?.name).toMatch(/^n{512}… \(1488 more characters\)$/);
    expect(decoded.spans[0]?.attributes).toHaveLength(128);
    expect(decoded.spans[0]?.attributes[0]?.[1]).toMatch(/^x{16384}… \(3616 more characters\)$/);
  });

  it('reads gauges, sums and histograms, and leaves the other kinds', () => {
    const attributes = [{ key: 'worker.id', value: { stringValue: 'w' } }];
    const metrics = [
      {
        name: 'a',
        unit: 'By',
        description: null,
        gauge: { dataPoints: [{ asDouble: 1.5, attributes, timeUnixNano: '7' }, {}] },
      },
      { name: 'b', sum: { isMonotonic: true, dataPoints: [{ asInt: '4' }, { asInt: 'x' }] } },
      { name: 'c', sum: { dataPoints: [{ asInt: -2 }] } },
      {
        name: 'd',
        histogram: { dataPoints: [{ count: '3', sum: 6, bucketCounts: ['1', 2], explicitBounds: [5], min: 1 }] },
      },
      { summary: {} },
      7,
      null,
    ];
    const scopeMetrics = [{ scope: { name: 's', version: '' }, metrics }];
    const point = (value: number): object => ({ value, attributes: [], timeUnixNano: 0n });
    expect(decodeTelemetry(frame('MTRC', { resourceMetrics: [{ scopeMetrics }] }))).toMatchObject({
      kind: 'metrics',
      metrics: [
        {
          name: 'a',
          unit: 'By',
          description: '',
          type: 'gauge',
          scopeName: 's',
          serviceName: 'unknown',
          points: [{ value: 1.5, attributes: [['worker.id', 'w']], timeUnixNano: 7n }],
        },
        { name: 'b', type: 'counter', points: [point(4)] },
        { name: 'c', type: 'updowncounter', points: [point(-2)] },
        {
          name: 'd',
          type: 'histogram',
          points: [
            {
              count: 3,
              sum: 6,
              bucketCounts: [1, 2],
              explicitBounds: [5],
              min: 1,
              max: undefined,
              attributes: [],
              timeUnixNano: 0n,
            },
          ],
        },
      ],
    });
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
      const span = {
        traceId: 'a',
        spanId: 'b',
        name: odd,
        startTimeUnixNano: odd,
        status: odd,
        events: odd,
        links: odd,
      };
      const spans = [{ ...span, attributes: odd, flags: odd, traceState: odd }];
      expect(bad(frame('OTLP', { resourceSpans: [{ resource: odd, scopeSpans: [{ scope: odd, spans }] }] }))).toBe(
        'spans',
      );
      for (const kind of ['gauge', 'sum', 'histogram']) {
        const metrics = [
          { [kind]: odd },
          { [kind]: { dataPoints: odd } },
          { [kind]: { dataPoints: [odd, { asInt: odd, count: odd, bucketCounts: odd }] } },
        ];
        expect(bad(frame('MTRC', { resourceMetrics: [{ scopeMetrics: [{ metrics }] }] }))).toBe('metrics');
      }
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
      observedUnixNano: 0n,
      severity: 0,
      severityText: '',
      resource: Object.create(null) as object,
      scopeName: '',
      scopeVersion: '',
      level: 'info',
      body: '',
      attributes: Object.create(null) as object,
      serviceName: 'unknown',
    });
    const record = logs({ observedTimeUnixNano: 5, traceId: 'ABCD', severityNumber: 17, body: { intValue: 4 } }, [
      { key: 'service.name', value: { stringValue: 'link' } },
    ]);
    expect(record).toMatchObject({
      timeUnixNano: 5n,
      traceId: 'abcd',
      level: 'error',
      severityText: 'ERROR',
      body: '4',
      serviceName: 'link',
      resource: { 'service.name': 'link' },
    });
    expect(
      logs({ severityNumber: 9, severityText: 'Notice', body: { stringValue: '\u001b[31mred\u001b[0m' } }),
    ).toMatchObject({
      severityText: 'Notice',
      body: 'red',
    });
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
