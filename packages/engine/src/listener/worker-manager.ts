/**
 * `iii-worker-manager`: the port that workers connect to, as an entry of config.yaml.
 */
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { Core } from '../core/core.js';
import type { SessionLimits } from '../core/remote-session.js';
import type { TelemetrySink } from '../core/telemetry.js';
import { defineWorker, type WorkerDefinition, type WorkerHost } from '../core/worker-host.js';
import type { HeartbeatOptions } from './heartbeat.js';
import { accessKeys, rulesOf } from './access-config.js';
import { Gate } from './gate.js';
import { tlsConfig, TlsFiles } from './tls-files.js';
import { WorkerListener, type Pressure } from './worker-listener.js';

/** The port of the reference, which every client tries first. */
export const DEFAULT_WORKER_PORT = 49_134;

const config = z.strictObject({
  host: z.string().min(1).optional().describe('Address to listen on. Left out or `localhost`: 127.0.0.1 and ::1'),
  port: z.number().int().min(0).max(65_535).default(DEFAULT_WORKER_PORT).describe('TCP port; 0 = a free one'),
  handshake_timeout_ms: z
    .number()
    .int()
    .min(1)
    .default(10_000)
    .describe('Time for a client to send its request head, in milliseconds'),
  ...accessKeys,
  tls: tlsConfig.nullish().describe('Certificate and key. Left out: connections are not encrypted'),
});

type Settings = z.output<typeof config>;

export interface WorkerManagerParts {
  readonly core: Core;
  readonly telemetry: TelemetrySink;
  readonly heartbeat?: Partial<HeartbeatOptions> | undefined;
  readonly sessionLimits?: Partial<SessionLimits> | undefined;
  readonly pressure?: Pressure | undefined;
}

/** @param parts - asked for at start: what the port hands its sessions to */
export function workerManager(parts: () => WorkerManagerParts): WorkerDefinition {
  return defineWorker({
    name: 'iii-worker-manager',
    aliases: ['worker-manager'],
    description: 'The WebSocket port that workers connect to.',
    config,
    async start(host, settings) {
      const { core, telemetry, heartbeat, sessionLimits, pressure } = parts();
      const who = host.entryName;
      const listener = new WorkerListener({
        core,
        telemetry,
        who,
        ...(heartbeat === undefined ? {} : { heartbeat }),
        ...(sessionLimits === undefined ? {} : { sessionLimits }),
        ...(pressure === undefined ? {} : { pressure }),
      });
      let current: Door | undefined;
      const listen = async (next: Settings): Promise<void> => {
        const door = await openDoor(core, host, next, current);
        try {
          await listener.listen({
            host: next.host,
            port: next.port,
            handshakeTimeoutMs: next.handshake_timeout_ms,
            gate: door.gate,
            allowedOrigins: door.allowedOrigins,
            tls: door.tls,
          });
        } catch (error) {
          closeDoor(door, current);
          throw error;
        }
        if (current !== undefined) closeDoor(current, door);
        current = door;
        host.reportPort(who, listener.port);
      };
      await listen(settings);
      return {
        reconfigure: listen,
        drain: () => listener.drain(),
        async stop() {
          await listener.stop();
          if (current !== undefined) closeDoor(current);
        },
      };
    },
  });
}

/** What of a configuration decides who comes in. Parts that do not change are kept, and so are those who came in by them. */
interface Door {
  readonly settings: Settings;
  readonly gate: Gate | undefined;
  readonly allowedOrigins: readonly string[] | undefined;
  readonly tls: TlsFiles | undefined;
}

/** @throws TrineError `tls_unusable` */
async function openDoor(core: Core, host: WorkerHost, settings: Settings, before: Door | undefined): Promise<Door> {
  const { projectDir, clock, log, entryName: who } = host;
  const same = (...keys: readonly (keyof Settings)[]): boolean =>
    before !== undefined && keys.every((key) => isDeepStrictEqual(before.settings[key], settings[key]));
  const files = settings.tls ?? undefined;
  const open = (): Promise<TlsFiles> | undefined =>
    files === undefined ? undefined : TlsFiles.open({ settings: files, projectDir, who, clock, log });
  const tls = same('tls') ? before?.tls : await open();
  const rules = rulesOf(settings, who);
  const sameRules = same('rbac', 'middleware_function_id', 'access_timeout_ms', 'middleware_timeout_ms');
  return {
    settings,
    gate: sameRules
      ? before?.gate
      : rules === undefined
        ? undefined
        : new Gate(core, rules, (request) => host.invoke(request)),
    allowedOrigins: same('allowed_origins') ? before?.allowedOrigins : (settings.allowed_origins ?? undefined),
    tls,
  };
}

/** Lets go of what the other one does not have in common with it. */
function closeDoor(door: Door, other?: Door): void {
  if (door.gate !== other?.gate) door.gate?.close();
  if (door.tls !== other?.tls) door.tls?.stop();
}
