/** What can be asked about traces, logs and workers, over real sockets. */
import { FakeClock, RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createEngine, type Engine } from '../../engine.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const ROOT = '00f067aa0ba902b7';
const CONTEXT = `00-${TRACE}-${ROOT}-01`;
const NANOS = 1_000_000n;
const START = Date.UTC(2026, 0, 1);

type Row = Readonly<Record<string, unknown>>;
type Attribute = readonly [string, string];

const attributes = (pairs: readonly Attribute[]): object[] =>
  pairs.map(([key, value]) => ({ key, value: { stringValue: value } }));

interface Sent {
  readonly id: string;
  readonly trace?: string;
  readonly parent?: string;
  readonly name?: string;
  readonly service?: string;
  readonly startMs?: number;
  readonly endMs?: number;
  readonly status?: number;
  readonly attributes?: readonly Attribute[];
}

describe('traces and logs', () => {
  let folder: TempFolder;
  let engine: Engine;
  let worker: RawWorker;
  const clock = new FakeClock(START);

  const start = async (observability: object = {}): Promise<void> => {
    engine = await createEngine({
      cwd: folder.path,
      clock,
      logLevel: 'silent',
      config: {
        workers: [
          { name: 'iii-worker-manager', config: { port: 0 } },
          { name: 'iii-observability', config: observability },
          { name: 'iii-state' },
        ],
      },
    });
    await engine.start();
    worker = await RawWorker.connect(engine.url);
  };
  const ask = async (id: string, payload: unknown = {}, extra: object = {}): Promise<Row> =>
    (await worker.call(id, payload, extra)) as Row;
  const list = async (payload: object = {}): Promise<Row & { spans: Row[] }> =>
    (await ask('engine::traces::list', payload)) as Row & { spans: Row[] };
  const names = async (payload: object = {}): Promise<unknown[]> => (await list(payload)).spans.map(({ name }) => name);
  /** Sends spans on the worker's own socket, behind which answers come. */
  const send = (...spans: readonly Sent[]): void => {
    for (const span of spans) {
      const sent = {
        traceId: span.trace ?? TRACE,
        spanId: span.id,
        ...(span.parent === undefined ? {} : { parentSpanId: span.parent }),
        name: span.name ?? span.id,
        startTimeUnixNano: String(BigInt(START + (span.startMs ?? 0)) * NANOS),
        endTimeUnixNano: span.endMs === 0 ? '0' : String(BigInt(START + (span.endMs ?? 10)) * NANOS),
        status: { code: span.status ?? 1 },
        attributes: attributes(span.attributes ?? []),
      };
      const resource = { attributes: attributes([['service.name', span.service ?? 'link']]) };
      const body = { resourceSpans: [{ resource, scopeSpans: [{ spans: [sent] }] }] };
      worker.sendBinary(Buffer.from(`OTLP${JSON.stringify(body)}`));
    }
  };
  const log = (body: string, extra: object = {}, data: readonly Attribute[] = []): void => {
    const record = { severityNumber: 9, body: { stringValue: body }, attributes: attributes(data), ...extra };
    const resource = { attributes: attributes([['service.name', 'link']]) };
    const frame = { resourceLogs: [{ resource, scopeLogs: [{ scope: { name: 's' }, logRecords: [record] }] }] };
    worker.sendBinary(Buffer.from(`LOGS${JSON.stringify(frame)}`));
  };

  beforeEach(async () => {
    folder = await tempFolder();
  });

  afterEach(async () => {
    worker.drop();
    await engine.stop();
    await folder.remove();
  });

  it('answers with the spans of workers, their nanoseconds whole', async () => {
    await start();
    send({ id: 'aa', parent: 'ffff', attributes: [['iii.tag.a', '1']] }, { id: 'bb', parent: 'aa', startMs: 1 });
    await list();
    expect(worker.texts.at(-1)).toContain(`"start_time_unix_nano":${START}000000,`);
    expect(await list()).toEqual({
      spans: [
        {
          trace_id: TRACE,
          span_id: 'aa',
          parent_span_id: 'ffff',
          name: 'aa',
          start_time_unix_nano: Number(BigInt(START) * NANOS),
          end_time_unix_nano: Number(BigInt(START + 10) * NANOS),
          status: 'ok',
          attributes: [['iii.tag.a', '1']],
          service_name: 'link',
          events: [],
          links: [],
          trace_tags: { 'iii.tag.a': '1' },
        },
      ],
      total: 1,
      offset: 0,
      limit: 100,
      storage: {
        archive: 'disabled',
        completeness: 'complete',
        known_dropped_spans: 0,
        physical_bytes: 0,
        max_disk_bytes: 0,
        last_error: null,
      },
    });
    expect(await ask('engine::traces::tree', { trace_id: TRACE })).toMatchObject({
      roots: [{ span_id: 'aa', children: [{ span_id: 'bb', children: [] }] }],
    });
    expect(await ask('engine::traces::tree', { trace_id: 'unknown' })).toMatchObject({ roots: [] });
    await expect(worker.call('engine::traces::tree', { trace_id: null })).rejects.toMatchObject({
      code: 'deserialization_error',
    });
    expect(await ask('engine::traces::clear')).toEqual({ success: true });
    expect(await list()).toMatchObject({ spans: [], total: 0 });
  });

  it('filters, sorts and pages', async () => {
    await start();
    send(
      { id: 'a1', trace: 'a', name: 'GET /one', service: 'api', startMs: 30, endMs: 40 },
      { id: 'b1', trace: 'b', name: 'GET /two', service: 'api', startMs: 10, endMs: 60, status: 2 },
      {
        id: 'b2',
        trace: 'b',
        parent: 'b1',
        name: 'execute x',
        startMs: 20,
        endMs: 50,
        attributes: [
          ['k', 'v'],
          ['l', 'w'],
        ],
      },
      { id: 'c1', trace: 'c', name: 'secret', startMs: 20, endMs: 21, attributes: [['iii.function.kind', 'internal']] },
      { id: 'd1', trace: 'd', name: 'engine', startMs: 20, endMs: 21, attributes: [['function_id', 'engine::x']] },
    );
    expect(await names()).toEqual(['GET /two', 'GET /one']);
    expect(await names({ sort_order: 'desc' })).toEqual(['GET /one', 'GET /two']);
    expect(await names({ sort_by: 'duration_ms', sort_order: 'desc' })).toEqual(['GET /two', 'GET /one']);
    expect(await names({ sort_by: 'name' })).toEqual(['GET /one', 'GET /two']);
    expect(await list({ limit: 1, offset: 1 })).toMatchObject({
      spans: [{ name: 'GET /one' }],
      total: 2,
      offset: 1,
      limit: 1,
    });
    expect(await names({ include_internal: true, sort_by: 'name' })).toEqual(
      expect.arrayContaining(['secret', 'engine']),
    );
    expect(await names({ name: 'get /O' })).toEqual(['GET /one']);
    expect(await names({ name: 'execute' })).toEqual([]);
    expect(await names({ name: 'execute', search_all_spans: true })).toEqual(['GET /two', 'execute x']);
    expect(await names({ attributes: [['k', 'v']], search_all_spans: true })).toEqual(['GET /two', 'execute x']);
    expect(
      await names({
        attributes: [
          ['k', 'v'],
          ['l', 'x'],
        ],
        search_all_spans: true,
      }),
    ).toEqual([]);
    expect(await names({ search_all_spans: true, exclude_attributes: [['k', 'v']] })).toEqual(['GET /two', 'GET /one']);
    expect(await names({ trace_id: 'b' })).toEqual(['GET /two']);
    expect(await names({ trace_ids: ['a', 'b', 'z'], service_name: 'AP' })).toEqual(['GET /two', 'GET /one']);
    expect(await names({ status: 'ERR' })).toEqual(['GET /two']);
    expect(await names({ min_duration_ms: 11 })).toEqual(['GET /two']);
    expect(await names({ max_duration_ms: 10 })).toEqual(['GET /one']);
    expect(await names({ start_time: START + 50 })).toEqual(['GET /two']);
    expect(await names({ end_time: START + 10 })).toEqual(['GET /two']);
    const { groups } = await ask('engine::traces::group_by', { attribute: 'k', label_attribute: 'l' });
    expect(groups).toEqual([
      {
        value: 'v',
        label: 'w',
        trace_ids: ['b'],
        span_count: 1,
        first_seen_ms: START + 20,
        last_seen_ms: START + 50,
        duration_ms: 30,
        error_count: 0,
      },
    ]);
  });

  it('records the calls that the router carries, without telling the executor', async () => {
    await start({ service_name: 'trine' });
    worker.serve('math::double', (data) => (data as { n: number }).n * 2);
    worker.serve('math::fail', () => {
      throw new Error('no');
    });
    expect(await worker.call('math::double', { n: 2 }, { traceparent: CONTEXT, baggage: 'a=b%20c,d=e;p' })).toBe(4);
    expect(await worker.frame('invokefunction')).toMatchObject({ traceparent: CONTEXT, baggage: 'a=b%20c,d=e;p' });
    await worker.ask('math::fail', {});
    await worker.ask('state::get', { scope: 's', key: 'k' }, { traceparent: CONTEXT });
    await worker.ask('state::get', { scope: 's' }, { traceparent: CONTEXT });
    await worker.ask('state::get', { scope: 's', key: 'k' });
    await worker.ask('nobody::home', {}, { traceparent: CONTEXT });

    // Of calls only those of built-ins inside a trace are for everybody.
    const { spans } = await list();
    expect(spans).toMatchObject([
      { name: 'call state::get', trace_id: TRACE, parent_span_id: ROOT, service_name: 'trine', status: 'ok', flags: 1 },
      { name: 'call state::get', status: 'error', status_description: expect.stringContaining('key') as string },
    ]);
    expect(spans[1]?.['attributes']).toContainEqual(['error.type', 'deserialization_error']);
    const all = (await list({ include_internal: true })).spans;
    expect(all.map(({ name, status }) => [name, status])).toEqual([
      ['call math::double', 'ok'],
      ['call math::fail', 'error'],
      ['call state::get', 'ok'],
      ['call state::get', 'error'],
      ['call state::get', 'ok'],
    ]);
    expect(new Set(all.map(({ span_id }) => span_id)).size).toBe(5);
    expect(all[1]).toMatchObject({ parent_span_id: null, status_description: 'no' });
    expect(await ask('engine::traces::tree', { trace_id: TRACE })).toMatchObject({
      roots: [{ name: 'call state::get' }, { name: 'call state::get' }],
    });
    expect(await ask('engine::baggage::get', { key: 'a' }, { baggage: 'a=b%20c,d=e;p' })).toEqual({ value: 'b c' });
    expect(await ask('engine::baggage::get', { key: 'a' })).toEqual({ value: null });
    expect(await ask('engine::baggage::get_all', {}, { baggage: 'a=b%20c,d=e;p,%' })).toEqual({
      baggage: { a: 'b c', d: 'e' },
    });
    expect(await ask('engine::baggage::set', { key: 'a', value: 'b' })).toMatchObject({
      success: true,
      note: expect.any(String) as string,
    });
  });

  it('measures how long a call took', async () => {
    await start();
    let answer: (() => void) | undefined;
    worker.serve('slow::one', () => new Promise<void>((resolve) => (answer = resolve)));
    const called = worker.ask('slow::one', {});
    await waitFor(() => answer !== undefined);
    await clock.advance(1_234);
    answer?.();
    await called;
    expect(await names({ include_internal: true, min_duration_ms: 1_233, max_duration_ms: 1_235 })).toEqual([
      'call slow::one',
    ]);
  });

  it('keeps as many spans, calls and records as it was told to', async () => {
    await start({ memory_max_spans: 3, logs_max_count: 2 });
    send(...[1, 2, 3, 4, 5].map((n) => ({ id: `a${n}`, trace: `b${n}`, startMs: n })));
    expect(await list()).toMatchObject({ total: 3, storage: { completeness: 'partial', known_dropped_spans: 2 } });
    expect(await names()).toEqual(['a3', 'a4', 'a5']);
    worker.serve('a::b', () => null);
    for (let n = 0; n < 5; n++) await worker.call('a::b', {});
    expect(await names({ include_internal: true, name: 'call' })).toHaveLength(3);
    for (const text of ['one', 'two', 'three']) log(text);
    expect(await ask('engine::logs::list')).toMatchObject({ logs: [{ body: 'three' }, { body: 'two' }], total: 2 });
  });

  it('shows a span that runs, then the finished one in its place', async () => {
    await start();
    send({ id: 'aa', endMs: 0 });
    expect((await list()).spans).toMatchObject([{ pending: true, end_time_unix_nano: 0 }]);
    send({ id: 'aa', endMs: 5 });
    const { spans, total } = await list();
    expect(total).toBe(1);
    expect(spans[0]).not.toHaveProperty('pending');
    send({ id: 'bb', trace: 'b', startMs: 1, endMs: 0 });
    await clock.advance(3_600_001);
    expect(await names()).toEqual(['aa']);
  });

  it('shows no running spans where it was told not to', async () => {
    await start({ live_spans: false });
    send({ id: 'aa', endMs: 0 }, { id: 'bb' });
    expect(await names()).toEqual(['bb']);
  });

  it('records nothing when it is off, and the asked share of calls otherwise', async () => {
    await start({ enabled: false });
    send({ id: 'aa' });
    log('unheard');
    await worker.ask('engine::log::info', { message: 'printed only' });
    expect(await ask('engine::logs::list')).toMatchObject({ logs: [], total: 0 });
    for (const [id, payload] of [
      ['list', {}],
      ['tree', { trace_id: TRACE }],
      ['group_by', { attribute: 'a' }],
    ] as const)
      await expect(worker.call(`engine::traces::${id}`, payload)).rejects.toMatchObject({
        code: 'memory_exporter_not_enabled',
      });
    expect(await ask('engine::health::check')).toMatchObject({
      status: 'healthy',
      components: { otel: { status: 'disabled', details: null } },
    });
    expect(engine.core.router.recorder).toBeUndefined();
    worker.drop();
    await engine.stop();

    await start({ sampling_ratio: 0.5 });
    send({ id: 'aa' });
    worker.serve('a::b', () => null);
    for (let n = 0; n < 20; n++) await worker.call('a::b', {});
    expect(await names({ include_internal: true, name: 'call' })).toHaveLength(10);
    expect(await names()).toEqual(['aa']);
  });

  it('lists the log records of workers and of engine::log', async () => {
    await start();
    log('first', { timeUnixNano: String(BigInt(START) * NANOS), traceId: TRACE, spanId: ROOT }, [['trace_id', TRACE]]);
    log('second', { timeUnixNano: String(BigInt(START + 5) * NANOS), severityNumber: 17 });
    await clock.advance(10);
    await worker.ask('engine::log::warn', { message: 'third', data: { code: 'iii', password: 'p' }, trace_id: 'abc' });
    const at = clock.now();
    expect(await ask('engine::logs::list', { limit: 2, offset: 1 })).toEqual({
      logs: [
        expect.objectContaining({ body: 'second', severity_number: 17, severity_text: 'ERROR' }) as object,
        {
          timestamp_unix_nano: Number(BigInt(START) * NANOS),
          observed_timestamp_unix_nano: Number(BigInt(START) * NANOS),
          severity_number: 9,
          severity_text: 'INFO',
          body: 'first',
          attributes: { trace_id: TRACE },
          trace_id: TRACE,
          span_id: ROOT,
          resource: { 'service.name': 'link' },
          service_name: 'link',
          instrumentation_scope_name: 's',
        },
      ],
      total: 3,
      query: {
        start_time: null,
        end_time: null,
        trace_id: null,
        span_id: null,
        severity_min: null,
        severity_text: null,
        offset: 1,
        limit: 2,
      },
      timestamp: at,
    });
    const bodies = async (payload: object): Promise<unknown[]> =>
      ((await ask('engine::logs::list', payload))['logs'] as Row[]).map(({ body }) => body);
    expect(await bodies({})).toEqual(['third', 'second', 'first']);
    expect(await bodies({ severity_min: 13 })).toEqual(['third', 'second']);
    expect(await bodies({ severity_text: 'info' })).toEqual(['first']);
    expect(await bodies({ trace_id: TRACE })).toEqual(['first']);
    expect(await bodies({ span_id: ROOT })).toEqual(['first']);
    expect(await bodies({ start_time: START + 5, end_time: START + 5 })).toEqual(['second']);
    expect(((await ask('engine::logs::list', { limit: 1 }))['logs'] as Row[])[0]).toMatchObject({
      attributes: { code: 'iii', password: '[redacted]' },
      trace_id: 'abc',
      instrumentation_scope_name: 'iii',
      resource: { 'service.name': 'iii', 'service.version': engine.version },
    });
    expect(await ask('engine::health::check')).toMatchObject({
      status: 'healthy',
      components: { logs: { status: 'healthy', details: { stored_logs: 3 } }, spans: { status: 'healthy' } },
      version: engine.version,
    });
    expect(await ask('engine::logs::clear')).toEqual({ success: true });
    expect(await bodies({})).toEqual([]);
  });

  describe('of workers', () => {
    const gauge = (name: string, value: number, workerId: string): object => ({
      name,
      gauge: {
        dataPoints: [
          {
            asDouble: value,
            timeUnixNano: String(BigInt(START) * NANOS),
            attributes: attributes([['worker.id', workerId]]),
          },
        ],
      },
    });
    const tell = (...metrics: object[]): void =>
      worker.sendBinary(Buffer.from(`MTRC${JSON.stringify({ resourceMetrics: [{ scopeMetrics: [{ metrics }] }] })}`));
    const info = async (): Promise<Row> => (await ask('engine::workers::info', { name: 'measured' }))['worker'] as Row;

    it('shows what they measured in the last two minutes', async () => {
      await start();
      worker.describe({ name: 'measured', runtime: 'python', version: '0.22.1', pid: 1 });
      expect(await info()).not.toHaveProperty('latest_metrics');
      tell(
        gauge('iii.worker.memory.rss', 5, worker.id),
        gauge('iii.worker.cpu.percent', 1.5, worker.id),
        gauge('iii.worker.memory.vms', 9, worker.id),
        gauge('iii.worker.uptime_seconds', 7, 'someone else'),
        {
          name: 'iii.worker.memory.external',
          sum: { dataPoints: [{ asDouble: 1, attributes: attributes([['worker.id', worker.id]]) }] },
        },
      );
      const metrics = { memory_rss: 5, cpu_percent: 1.5, timestamp_ms: START, runtime: 'python' };
      expect((await info())['latest_metrics']).toEqual(metrics);
      const { workers } = await ask('engine::workers::list', { search: 'measured' });
      expect(workers).toMatchObject([{ latest_metrics: metrics }]);
      await clock.advance(100_000);
      tell(gauge('iii.worker.cpu.percent', 2.5, worker.id));
      await info();
      await clock.advance(20_001);
      expect((await info())['latest_metrics']).toMatchObject({ cpu_percent: 2.5 });
      expect((await info())['latest_metrics']).not.toHaveProperty('memory_rss');
      await clock.advance(100_000);
      expect(await info()).not.toHaveProperty('latest_metrics');
    });

    it('shows clients before 0.13 the key as always there', async () => {
      await start();
      worker.describe({ name: 'measured', version: '0.11.6', pid: 1 });
      const { workers } = await ask('engine::workers::list');
      expect((workers as Row[]).every((row) => row['latest_metrics'] === null)).toBe(true);
    });
  });
});
