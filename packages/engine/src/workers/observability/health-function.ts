import { z } from 'zod';
import type { JsonValue, Registration, WorkerHost } from '../../core/worker-host.js';
import type { Telemetry } from './telemetry.js';

/** `engine::health::check`: which parts of the telemetry run, and how much they hold. */
export function healthFunction(host: WorkerHost, telemetry: Telemetry, version: string): Registration {
  return host.registerFunction({
    id: 'engine::health::check',
    description: 'Health of the engine and of its telemetry',
    request: z.object({}),
    handler() {
      const { isRecording, isKeepingLogs, spans, logs, gauges, serviceName } = telemetry;
      return {
        status: 'healthy',
        components: {
          // The exporter is spelled as readers of the reference's answer know it.
          otel: component(isRecording, { enabled: true, service_name: serviceName, exporter: 'Some(Memory)' }),
          metrics: component(isRecording, { stored_metrics: gauges.size }),
          logs: component(isKeepingLogs, { stored_logs: logs.size }),
          spans: component(isRecording, { stored_spans: spans.size, hot_bytes: spans.bytes }),
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
