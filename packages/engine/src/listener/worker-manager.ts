/**
 * `iii-worker-manager`: the port that workers connect to, as an entry of config.yaml.
 */
import { z } from 'zod';
import type { Core } from '../core/core.js';
import type { SessionLimits } from '../core/remote-session.js';
import type { TelemetrySink } from '../core/telemetry.js';
import { defineWorker, type WorkerDefinition } from '../core/worker-host.js';
import type { HeartbeatOptions } from './heartbeat.js';
import { WorkerListener } from './worker-listener.js';

/** The port of the reference, which every client tries first. */
export const DEFAULT_WORKER_PORT = 49_134;

const notYet = (key: string): z.ZodOptional<z.ZodNever> =>
  z
    .never({
      error: `\`${key}\` is not in this version: the worker port has no access rules yet; keep it on a loopback address`,
    })
    .optional();

const config = z.strictObject({
  host: z.string().min(1).optional().describe('Address to listen on. Left out or `localhost`: 127.0.0.1 and ::1'),
  port: z.number().int().min(0).max(65_535).default(DEFAULT_WORKER_PORT).describe('TCP port; 0 = a free one'),
  handshake_timeout_ms: z
    .number()
    .int()
    .min(1)
    .default(10_000)
    .describe('Time for a client to send its request head, in milliseconds'),
  rbac: notYet('rbac'),
  middleware_function_id: notYet('middleware_function_id'),
});

export interface WorkerManagerParts {
  readonly core: Core;
  readonly telemetry: TelemetrySink;
  readonly heartbeat?: Partial<HeartbeatOptions> | undefined;
  readonly sessionLimits?: Partial<SessionLimits> | undefined;
}

/** @param parts - asked for at start: what the port hands its sessions to */
export function workerManager(parts: () => WorkerManagerParts): WorkerDefinition {
  return defineWorker({
    name: 'iii-worker-manager',
    aliases: ['worker-manager'],
    description: 'The WebSocket port that workers connect to.',
    config,
    async start(host, settings) {
      const { core, telemetry, heartbeat, sessionLimits } = parts();
      const listener = new WorkerListener({
        core,
        telemetry,
        who: host.entryName,
        ...(heartbeat === undefined ? {} : { heartbeat }),
        ...(sessionLimits === undefined ? {} : { sessionLimits }),
      });
      const listen = async ({ host: address, port, handshake_timeout_ms }: typeof settings): Promise<void> => {
        await listener.listen({ host: address, port, handshakeTimeoutMs: handshake_timeout_ms });
        host.reportPort(host.entryName, listener.port);
      };
      await listen(settings);
      return { reconfigure: listen, drain: () => listener.drain(), stop: () => listener.stop() };
    },
  });
}
