import { readFileSync } from 'node:fs';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { createLog, type LogLevel } from '../../core/log-writer.js';
import { createEngine, type Engine } from '../../engine.js';
import { observabilityConfig } from './config.js';
import type { Telemetry } from './index.js';

/**
 * What the npm iii-sdk 0.11.6 (with SERVICE_INSTANCE_ID=link) and 0.22.1 (without) sent: three log
 * records outside of a call, one inside, one span.
 */
const FRAMES = JSON.parse(readFileSync(new URL('./fixtures/sdk-frames.json', import.meta.url), 'utf8')) as Record<
  '0.11' | '0.22',
  string[]
>;

interface Line {
  readonly level: string;
  readonly target: string;
  readonly fields: Record<string, unknown>;
}

describe('observability', () => {
  let folder: TempFolder;
  let engine: Engine;
  let written: string[];
  let sockets: WebSocket[];

  const start = async (observability?: object, level: LogLevel = 'warn'): Promise<Telemetry> => {
    const log = createLog({ level, format: 'json', stream: { write: (text) => written.push(text) } });
    const entries = observability === undefined ? [] : [{ name: 'iii-observability', config: observability }];
    engine = await createEngine({
      cwd: folder.path,
      log,
      config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }, ...entries] },
    });
    await engine.start();
    return engine.telemetry;
  };
  const send = async (path: string, frames: readonly (string | Buffer)[]): Promise<WebSocket> => {
    const socket = new WebSocket(engine.url + path);
    sockets.push(socket);
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    for (const frame of frames) socket.send(Buffer.from(frame));
    return socket;
  };
  const lines = (): Line[] => written.map((text) => JSON.parse(text) as Line);
  const line = (message: string): Promise<Line> =>
    waitFor(() => lines().find(({ fields }) => fields['message'] === message), { what: `the line '${message}'` });

  beforeEach(async () => {
    folder = await tempFolder();
    written = [];
    sockets = [];
  });

  afterEach(async () => {
    for (const socket of sockets) socket.terminate();
    await engine.stop();
    await folder.remove();
  });

  for (const [sdk, name] of [
    ['0.11', 'link'],
    ['0.22', 'iii-node'],
  ] as const) {
    it(`prints the records of the SDK ${sdk} with worker, level, message and fields`, async () => {
      const sink = await start({ level: 'debug' });
      await send('/otel', FRAMES[sdk]);
      expect(await line('link resolved')).toMatchObject({
        level: 'INFO',
        target: name,
        fields: {
          code: 'iii',
          found: true,
          nul: null,
          hits: 3,
          ratio: 0.5,
          tags: ['a', 'b'],
          trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
        },
      });
      expect(await line('link worker ready')).toMatchObject({ level: 'WARN', target: name });
      expect(await line('plain data')).toMatchObject({ level: 'ERROR', fields: { data: 'text' } });
      expect(await line('quiet')).toMatchObject({ level: 'DEBUG', fields: { n: 1 } });
      await waitFor(() => sink.counts.spans === 1);
      expect(sink.counts).toEqual({ logs: 4, spans: 1, metrics: 0, bad: 0 });
    });
  }

  it('prints for people what a worker logged', async () => {
    await start({ format: 'default', level: 'info' });
    await send('/otel', FRAMES['0.11']);
    const text = await waitFor(() => written.find((each) => each.includes('link resolved')));
    expect(text).toMatch(
      /^\[\d\d:\d\d:\d\d\.\d{3} [AP]M\] \[INFO\] link link resolved\n {4}├ code: "iii"\n {4}├ found: true\n/,
    );
  });

  it('takes the same frames on the worker socket, and survives bad ones with few words', async () => {
    const sink = await start({ level: 'info' });
    const socket = await send('/', [
      'OTLP',
      'LOGS{',
      'LOGS{"resourceLogs":7}',
      ...Array<string>(20).fill('MTRC[]'),
      ...FRAMES['0.22'],
    ]);
    await line('link resolved');
    expect(sink.counts.bad).toBe(22);
    expect(
      lines()
        .filter(({ target }) => target === 'iii::telemetry')
        .map(({ fields }) => fields['dropped_so_far']),
    ).toEqual([1, 10]);
    expect(socket.readyState).toBe(WebSocket.OPEN);
  });

  it('names a logger that calls itself something else', async () => {
    await start({ level: 'info' });
    const attributes = [{ key: 'service.name', value: { stringValue: 'billing' } }];
    const record = { severityNumber: 9, body: { stringValue: 'paid' }, attributes };
    await send('/otel', [
      `LOGS${JSON.stringify({ resourceLogs: [{ resource: {}, scopeLogs: [{ logRecords: [record] }] }] })}`,
    ]);
    expect((await line('paid')).target).toBe('unknown [billing]');
  });

  it('reads no records, or prints none, where the configuration says so', async () => {
    const sink = await start({ level: 'debug', logs_console_output: false });
    await send('/otel', FRAMES['0.22']);
    await waitFor(() => sink.counts.spans === 1);
    expect(sink.counts.logs).toBe(4);
    await engine.stop();

    const off = await start({ level: 'debug', logs_enabled: false });
    await send('/otel', FRAMES['0.22']);
    await waitFor(() => off.counts.spans === 1);
    expect(off.counts.logs).toBe(0);
    expect(lines().map(({ fields }) => fields['message'])).not.toContain('link resolved');
  });

  it('writes what workers hand to engine::log, under their name', async () => {
    await start({ level: 'trace' });
    const worker = engine.worker('link');
    const log = (level: string, payload: object): Promise<unknown> =>
      worker.trigger({ function_id: `engine::log::${level}`, payload });
    expect(
      await log('warn', { message: 'careful', data: { code: 'iii', password: 'p' }, trace_id: 'abc' }),
    ).toBeUndefined();
    expect(await line('careful')).toEqual(
      expect.objectContaining({
        level: 'WARN',
        target: 'link',
        fields: { message: 'careful', code: 'iii', password: '[redacted]', trace_id: 'abc' },
      }),
    );
    await log('trace', { message: 'as another', service_name: 'other', data: 5 });
    expect(await line('as another')).toMatchObject({ level: 'TRACE', target: 'other', fields: { data: 5 } });
    await expect(log('info', {})).rejects.toMatchObject({ code: 'deserialization_error' });
  });

  it('keeps its own lines as records, those of others as theirs alone', async () => {
    await start({ level: 'info', service_name: 'shop-engine' });
    const worker = engine.worker('link');
    interface Kept {
      readonly body: string;
      readonly attributes: Record<string, unknown>;
      readonly [key: string]: unknown;
    }
    const kept = async (query: object = {}): Promise<Kept[]> =>
      (await worker.trigger<object, { logs: Kept[] }>({ function_id: 'engine::logs::list', payload: query })).logs;
    const listening = (await kept()).find(({ body }) => body.startsWith('Engine listening on address: '));
    expect(listening).toMatchObject({
      severity_text: 'INFO',
      severity_number: 9,
      service_name: 'shop-engine',
      instrumentation_scope_name: 'tracing',
      trace_id: null,
      attributes: { target: 'iii::engine' },
    });
    await send('/', ['OTLP{', ...FRAMES['0.22']]);
    await line('link resolved');
    expect(await kept({ severity_min: 13 })).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          body: 'A telemetry frame could not be read and was dropped',
          severity_text: 'WARN',
          attributes: expect.objectContaining({ target: 'iii::telemetry', dropped_so_far: 1 }) as unknown,
        }),
      ]),
    );
    // A worker's record is one, though it is written to the engine's log too.
    expect((await kept()).filter(({ body }) => body === 'link resolved')).toHaveLength(1);
    await worker.trigger({ function_id: 'engine::log::info', payload: { message: 'said once' } });
    expect((await kept()).filter(({ body }) => body === 'said once')).toHaveLength(1);
  });

  it('keeps no lines that its level leaves out, or when it keeps no logs', async () => {
    const bodies = async (config: object): Promise<string[]> => {
      await start(config);
      const found = await engine
        .worker('reader')
        .trigger<object, { logs: { body: string }[] }>({ function_id: 'engine::logs::list', payload: {} });
      await engine.stop();
      return found.logs.map(({ body }) => body);
    };
    expect(await bodies({ level: 'warn' })).toEqual([]);
    expect(await bodies({ level: 'info', logs_enabled: false })).toEqual([]);
    expect(await bodies({ level: 'info' })).not.toEqual([]);
  });

  it('works by its defaults where it is not configured', async () => {
    const sink = await start(undefined, 'info');
    await send('/otel', FRAMES['0.22']);
    expect(await line('link resolved')).toMatchObject({ level: 'INFO', target: 'iii-node' });
    await waitFor(() => sink.counts.spans === 1);
  });

  it('names the keys that do nothing yet in one warning', async () => {
    await start({
      exporter: 'memory',
      endpoint: 'http://127.0.0.1:4317',
      trace_storage: {},
      sampling_ratio: 1,
      logs_enabled: true,
    });
    const warnings = lines().filter(({ fields }) => 'keys' in fields);
    expect(warnings.map(({ fields }) => fields['keys'])).toEqual(['endpoint, trace_storage']);
  });
});

describe('observability configuration', () => {
  it('knows every key of the reference and refuses others', () => {
    expect(
      observabilityConfig.safeParse({ log_level: 'WARN', format: 'json', alerts: [], sampling: { default: 1 } })
        .success,
    ).toBe(true);
    expect(observabilityConfig.parse(undefined)).toEqual({});
    expect(observabilityConfig.safeParse({ prometheus_port: 1 }).error?.issues[0]).toMatchObject({
      code: 'unrecognized_keys',
      keys: ['prometheus_port'],
    });
    expect(observabilityConfig.safeParse({ level: 'loud' }).error?.issues[0]?.message).toContain(
      'must be one of trace, debug',
    );
    expect(observabilityConfig.safeParse({ format: 'xml' }).success).toBe(false);
    for (const wrong of [{ sampling_ratio: 1.5 }, { memory_max_spans: 0 }, { logs_max_count: 0 }, { service_name: '' }])
      expect(observabilityConfig.safeParse(wrong).success).toBe(false);
  });
});
