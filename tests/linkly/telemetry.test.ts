/** What the SDKs tell of their workers: spans, log records and gauges, as they can be asked for. */
import { join } from 'node:path';
import { createEngine, type Engine } from '@trine/engine';
import { RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pythonWith } from '../support/python.js';
import { WorkerProcess } from '../support/worker-process.js';

const FIXTURES = join(import.meta.dirname, 'fixtures');
/** A virtual environment may have to be made first, in milliseconds. */
const SETUP_TIMEOUT_MS = 150_000;
/** The oldest SDK sends its spans every 5 s, in milliseconds. */
const TOLD_TIMEOUT_MS = 30_000;
const CALLER_SPAN = '00f067aa0ba902b7';

type Row = Readonly<Record<string, unknown>>;

let folder: TempFolder;
let engine: Engine;
let asker: RawWorker;
const workers = new Map<string, WorkerProcess>();

const ask = async (functionId: string, payload: object): Promise<Row> => (await asker.call(functionId, payload)) as Row;

beforeAll(async () => {
  folder = await tempFolder('trine-telemetry-');
  const python = await pythonWith(['iii-sdk>=0.18,<0.19']);
  engine = await createEngine({
    cwd: folder.path,
    logLevel: 'silent',
    config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }, { name: 'iii-state' }] },
  });
  await engine.start();
  asker = await RawWorker.connect(engine.url);
  const env = { III_URL: engine.url, OTEL_ENABLED: 'true' };
  const node = (version: string, name: string): WorkerProcess =>
    new WorkerProcess(process.execPath, [join(FIXTURES, 'measured.js'), version, name], { env });
  workers.set('node-old', node('0.11', 'node-old'));
  workers.set('node-young', node('0.22', 'node-young'));
  workers.set('python', new WorkerProcess(python, [join(FIXTURES, 'measured.py'), 'python'], { env }));
}, SETUP_TIMEOUT_MS);

afterAll(async () => {
  await Promise.all([...workers.values()].map((worker) => worker.kill()));
  asker?.drop();
  await engine?.stop();
  await folder?.remove();
});

describe.each([
  ['node-old', 'call node-old::visit', '1'.repeat(32)],
  ['node-young', 'execute node-young::visit', '2'.repeat(32)],
  // Its SDK names the span after its own wrapper around the handler.
  ['python', 'call wrapped', '3'.repeat(32)],
])('linkly - the telemetry of %s', (name, spanName, traceId) => {
  /** Waits for something, or tells what the worker printed. */
  const told = <T>(what: string, check: () => Promise<T>): Promise<NonNullable<T>> =>
    waitFor(check, { timeoutMs: TOLD_TIMEOUT_MS, everyMs: 50, what }).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}; the worker printed:\n${workers.get(name)?.output}`, {
        cause: error,
      });
    });

  beforeAll(async () => {
    await told('its function', async () => {
      const traceparent = `00-${traceId}-${CALLER_SPAN}-01`;
      const answer = await asker.ask(`${name}::visit`, { code: 'abc' }, { traceparent });
      return answer['error'] === undefined;
    });
  }, TOLD_TIMEOUT_MS);

  it(
    'holds the span of a call, below that of its caller and above those of its own calls',
    async () => {
      const tree = await told('the span', async () => {
        const { roots } = (await ask('engine::traces::tree', { trace_id: traceId })) as { roots: Row[] };
        return roots.find((root) => root['name'] === spanName);
      });
      expect(tree).toMatchObject({ service_name: name, parent_span_id: CALLER_SPAN, status: 'ok' });
      expect(tree['children']).toMatchObject([{ name: 'call state::set', service_name: 'iii', status: 'ok' }]);
      const { spans } = await ask('engine::traces::list', { trace_id: traceId, name: spanName });
      expect(spans).toHaveLength(1);
    },
    TOLD_TIMEOUT_MS,
  );

  it(
    'holds the record of a log within that span',
    async () => {
      const record = await told('the record', async () => {
        const { logs } = (await ask('engine::logs::list', { trace_id: traceId })) as { logs: Row[] };
        return logs.find(({ body }) => body === `${name} visited`);
      });
      expect(record).toMatchObject({ service_name: name, severity_text: 'INFO', severity_number: 9 });
      expect((record['attributes'] as Row)['log.data']).toEqual({ code: 'abc' });
    },
    TOLD_TIMEOUT_MS,
  );

  // The Python SDKs have these gauges too, but do not start them.
  it.skipIf(name === 'python')(
    'holds its gauges, shown with the worker',
    async () => {
      const metrics = await told('the gauges', async () => {
        const { worker } = (await ask('engine::workers::info', { name })) as { worker: Row };
        return worker['latest_metrics'] as Row | undefined;
      });
      expect(metrics).toMatchObject({
        memory_rss: expect.any(Number) as number,
        uptime_seconds: expect.any(Number) as number,
        cpu_percent: expect.any(Number) as number,
        runtime: 'node',
      });
      expect(metrics['memory_rss']).toBeGreaterThan(1_000_000);
      expect(Math.abs((metrics['timestamp_ms'] as number) - Date.now())).toBeLessThan(TOLD_TIMEOUT_MS);
    },
    TOLD_TIMEOUT_MS,
  );
});
