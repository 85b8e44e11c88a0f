/** Metrics of workers, out of OTLP's ExportMetricsServiceRequest: gauges, sums and histograms. */
import {
  asText,
  attributePairs,
  attributesOf,
  clip,
  isObject,
  nameOf,
  nanoseconds,
  numberOf,
  objects,
  type AttributePair,
  type JsonObject,
} from './telemetry-values.js';

interface MetricIdentity {
  readonly name: string;
  readonly description: string;
  readonly unit: string;
  readonly serviceName: string;
  /** '' when absent, as the version. */
  readonly scopeName: string;
  readonly scopeVersion: string;
}

/** A `counter` only rises, an `updowncounter` moves both ways. */
export type MetricRecord =
  | (MetricIdentity & {
      readonly type: 'counter' | 'updowncounter' | 'gauge';
      readonly points: readonly GaugePoint[];
    })
  | (MetricIdentity & { readonly type: 'histogram'; readonly points: readonly HistogramPoint[] });

export interface GaugePoint {
  readonly value: number;
  readonly attributes: readonly AttributePair[];
  /** Nanoseconds since the epoch; 0 when the point has no time. */
  readonly timeUnixNano: bigint;
}

export interface HistogramPoint {
  readonly count: number;
  readonly sum: number;
  readonly bucketCounts: readonly number[];
  readonly explicitBounds: readonly number[];
  readonly min: number | undefined;
  readonly max: number | undefined;
  readonly attributes: readonly AttributePair[];
  readonly timeUnixNano: bigint;
}

/** Metrics, and points of one metric, read from one frame; SDKs send nine gauges with a point each. */
const MAX_METRICS_PER_FRAME = 10_000;
/** Buckets of one histogram that are read. */
const MAX_BUCKETS = 1_000;

export function metricRecords(body: JsonObject): MetricRecord[] {
  const records: MetricRecord[] = [];
  for (const group of objects(body['resourceMetrics'])) {
    const resource = attributesOf(isObject(group['resource']) ? group['resource']['attributes'] : undefined);
    const serviceName = nameOf(asText(resource['service.name'])) || 'unknown';
    for (const scoped of objects(group['scopeMetrics'])) {
      const scope = isObject(scoped['scope']) ? scoped['scope'] : {};
      for (const metric of objects(scoped['metrics'])) {
        if (records.length >= MAX_METRICS_PER_FRAME) return records;
        const record = metricRecord(metric, serviceName, scope);
        if (record !== undefined) records.push(record);
      }
    }
  }
  return records;
}

/** Undefined for kinds that are not read. */
function metricRecord(metric: JsonObject, serviceName: string, scope: JsonObject): MetricRecord | undefined {
  const identity: MetricIdentity = {
    name: nameOf(metric['name']),
    description: typeof metric['description'] === 'string' ? clip(metric['description']) : '',
    unit: nameOf(metric['unit']),
    serviceName,
    scopeName: nameOf(scope['name']),
    scopeVersion: nameOf(scope['version']),
  };
  const { gauge, sum, histogram } = metric;
  if (isObject(gauge)) return { ...identity, type: 'gauge', points: numberPoints(gauge['dataPoints']) };
  if (isObject(sum)) {
    const type = sum['isMonotonic'] === true ? 'counter' : 'updowncounter';
    return { ...identity, type, points: numberPoints(sum['dataPoints']) };
  }
  if (isObject(histogram)) return { ...identity, type: 'histogram', points: histogramPoints(histogram['dataPoints']) };
  return undefined;
}

function numberPoints(list: unknown): GaugePoint[] {
  return objects(list)
    .slice(0, MAX_METRICS_PER_FRAME)
    .flatMap((point): GaugePoint[] => {
      const value = numberOf(point['asDouble']) ?? numberOf(point['asInt']);
      if (value === undefined) return [];
      return [
        {
          value,
          attributes: attributePairs(point['attributes']),
          timeUnixNano: nanoseconds(point['timeUnixNano']),
        },
      ];
    });
}

function histogramPoints(list: unknown): HistogramPoint[] {
  return objects(list)
    .slice(0, MAX_METRICS_PER_FRAME)
    .map((point) => ({
      count: numberOf(point['count']) ?? 0,
      sum: numberOf(point['sum']) ?? 0,
      bucketCounts: numbers(point['bucketCounts']),
      explicitBounds: numbers(point['explicitBounds']),
      min: numberOf(point['min']),
      max: numberOf(point['max']),
      attributes: attributePairs(point['attributes']),
      timeUnixNano: nanoseconds(point['timeUnixNano']),
    }));
}

function numbers(list: unknown): number[] {
  return Array.isArray(list) ? list.slice(0, MAX_BUCKETS).map((each) => numberOf(each) ?? 0) : [];
}
