import { z } from 'zod';
import type { StorageHealth } from '../../core/store.js';
import type { HealthReport, JsonValue, Registration, WorkerHost } from '../../core/worker-host.js';
import type { Telemetry } from './telemetry.js';

/** Rows of the quarantine that are shown. */
const MAX_SHOWN_ROWS = 20;

/**
 * `engine::health::check`: the telemetry, the disk, and each built-in worker that depends on something.
 * The whole is `degraded` when one of them is; nothing of it is asked of a server on the way.
 */
export function healthFunction(
  host: WorkerHost,
  parts: {
    readonly telemetry: Telemetry;
    readonly health: ReadonlyMap<string, () => HealthReport>;
    readonly version: string;
  },
): Registration {
  const { telemetry, health, version } = parts;
  return host.registerFunction({
    id: 'engine::health::check',
    description: 'Health of the engine: its telemetry, its disk, and what its workers depend on',
    request: z.object({}),
    handler() {
      const { isRecording, isKeepingLogs, spans, logs, gauges, serviceName } = telemetry;
      const workers = [...health].map(([name, report]) => [name, report()] as const);
      const storage = storageReport(host.storage.health());
      const isDegraded = [storage, ...workers.map(([, report]) => report)].some(({ status }) => status === 'degraded');
      return {
        status: isDegraded ? 'degraded' : 'healthy',
        components: {
          // The exporter is spelled as readers of the reference's answer know it.
          otel: component(isRecording, { enabled: true, service_name: serviceName, exporter: 'Some(Memory)' }),
          metrics: component(isRecording, { stored_metrics: gauges.size }),
          logs: component(isKeepingLogs, { stored_logs: logs.size }),
          spans: component(isRecording, { stored_spans: spans.size, hot_bytes: spans.bytes }),
          storage: storage as unknown as JsonValue,
          ...(Object.fromEntries(workers) as unknown as { [name: string]: JsonValue }),
        },
        timestamp: host.clock.now(),
        version,
      };
    },
  });
}

function component(isOn: boolean, details: { readonly [name: string]: JsonValue }): JsonValue {
  return isOn ? { status: 'healthy', details } : { status: 'disabled', details: null };
}

function storageReport({ status, files, quarantined, waitingBytes }: StorageHealth): HealthReport {
  return {
    status: status === 'ok' ? 'healthy' : 'degraded',
    details: {
      state: status,
      waiting_bytes: waitingBytes,
      files: files.map(({ file, state, reason, since }) => ({ file, state, since, reason })),
      quarantined_rows: quarantined.length,
      quarantined: quarantined.slice(0, MAX_SHOWN_ROWS).map(({ file, table, rowid, reason, foundAt }) => ({
        file,
        table,
        rowid,
        reason,
        found_at: foundAt,
      })),
    },
  };
}
