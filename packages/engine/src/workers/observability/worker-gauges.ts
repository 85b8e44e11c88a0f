/** What workers last told of their own memory and processor, by worker id. */
import type { MetricRecord } from '../../core/telemetry.js';
import type { Clock } from '../../core/clock.js';

/** Values older than this say nothing about now, in milliseconds: two exports of an SDK. */
const FRESH_MS = 120_000;
/** Workers whose values are kept; the one that told longest ago goes first. */
const MAX_WORKERS = 10_000;

/** Gauges of the SDKs, and where `engine::workers::info` shows them. */
const GAUGES: ReadonlyMap<string, GaugeKey> = new Map<string, GaugeKey>([
  ['iii.worker.memory.heap_used', 'memory_heap_used'],
  ['iii.worker.memory.heap_total', 'memory_heap_total'],
  ['iii.worker.memory.rss', 'memory_rss'],
  ['iii.worker.memory.external', 'memory_external'],
  ['iii.worker.cpu.user_micros', 'cpu_user_micros'],
  ['iii.worker.cpu.system_micros', 'cpu_system_micros'],
  ['iii.worker.cpu.percent', 'cpu_percent'],
  ['iii.worker.event_loop.lag_ms', 'event_loop_lag_ms'],
  ['iii.worker.uptime_seconds', 'uptime_seconds'],
]);

type GaugeKey =
  | 'memory_heap_used'
  | 'memory_heap_total'
  | 'memory_rss'
  | 'memory_external'
  | 'cpu_user_micros'
  | 'cpu_system_micros'
  | 'cpu_percent'
  | 'event_loop_lag_ms'
  | 'uptime_seconds';

/** Values that a worker never told are absent. */
export type WorkerMetrics = { readonly [Key in GaugeKey]?: number } & { readonly timestamp_ms: number };

interface Told {
  /** Steady clock, milliseconds. */
  readonly atMs: number;
  readonly timestampMs: number;
  readonly value: number;
}

export class WorkerGauges {
  readonly #clock: Clock;
  readonly #workers = new Map<string, Map<GaugeKey, Told>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes the gauges that workers tell of themselves; others are none of its business. */
  add(metric: MetricRecord): void {
    const key = metric.type === 'gauge' ? GAUGES.get(metric.name) : undefined;
    if (key === undefined || metric.type !== 'gauge') return;
    for (const point of metric.points) {
      const workerId = point.attributes.find(([name]) => name === 'worker.id')?.[1] ?? '';
      if (workerId === '') continue;
      const timestampMs = point.timeUnixNano > 0n ? Number(point.timeUnixNano / 1_000_000n) : this.#clock.now();
      const told = this.#workers.get(workerId) ?? new Map<GaugeKey, Told>();
      told.set(key, { atMs: this.#clock.monotonic(), timestampMs, value: point.value });
      this.#workers.delete(workerId);
      this.#workers.set(workerId, told);
      if (this.#workers.size > MAX_WORKERS) this.#workers.delete(this.#workers.keys().next().value as string);
    }
  }

  /** What a worker told in the last two minutes; undefined when that is nothing. */
  latest(workerId: string): WorkerMetrics | undefined {
    const oldestMs = this.#clock.monotonic() - FRESH_MS;
    const fresh = [...(this.#workers.get(workerId) ?? [])].filter(([, told]) => told.atMs >= oldestMs);
    if (fresh.length === 0) return undefined;
    return {
      ...Object.fromEntries(fresh.map(([key, { value }]) => [key, value])),
      timestamp_ms: Math.max(...fresh.map(([, { timestampMs }]) => timestampMs)),
    };
  }

  /** Values that are kept, fresh or not. */
  get size(): number {
    let count = 0;
    for (const told of this.#workers.values()) count += told.size;
    return count;
  }
}
