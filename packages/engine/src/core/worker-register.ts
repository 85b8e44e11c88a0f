/**
 * `engine::workers::register`: what a worker says of itself, usually as its last message after
 * connecting. It belongs to the session, so the core serves it.
 */
import { blankNamespace, isBlank, TrineError } from '@trine/protocol';
import { z } from 'zod';
import type { BuiltInHost } from './built-in-host.js';
import type { Core } from './core.js';
import type { WorkerInfo } from './session.js';

/** Longest worker name and description kept, in characters (the reference's limit). */
const MAX_TEXT = 280;

/** Feature names kept of a worker. */
const MAX_FEATURES = 64;

/** Control and bidirectional-override characters: they could forge lines in logs and lists. */
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

const text = z.string().nullish();
const request = z.object({
  runtime: text,
  version: text,
  name: text,
  description: text,
  os: text,
  pid: z.number().int().nonnegative().nullish(),
  isolation: text,
  namespace: text,
  telemetry: z.unknown().optional(),
  features: z.unknown().optional(),
});

export function registerWorkerFunction(core: Core, host: BuiltInHost): void {
  host.registerFunction({
    id: 'engine::workers::register',
    description: 'Describe the calling worker: runtime, version, name, process id',
    request,
    response: z.object({ success: z.boolean() }),
    metadata: { internal: true },
    handler(input, context) {
      const session = core.session(context.caller.workerId);
      if (session === undefined) return { success: false };
      const { namespace } = input;
      if (isBlank(namespace ?? undefined)) throw blankNamespace('namespace');
      const refusal = session.access?.namespaceRefusal(namespace ?? session.namespace);
      if (refusal !== undefined) throw new TrineError(refusal.code, refusal.message);
      const info: Partial<WorkerInfo> = {
        runtime: input.runtime ?? 'unknown',
        version: input.version ?? undefined,
        telemetry: input.telemetry,
        features: stringsOf(input.features),
      };
      const name = clean(input.name);
      const description = clean(input.description);
      if (name !== undefined) info.name = name;
      if (description !== undefined) info.description = description;
      if (typeof input.os === 'string') info.os = input.os;
      if (typeof input.pid === 'number') info.pid = input.pid;
      if (typeof input.isolation === 'string') info.isolation = input.isolation;
      core.describe(session, info, namespace ?? undefined);
      return { success: true };
    },
  });
}

function stringsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string').slice(0, MAX_FEATURES) : [];
}

function clean(value: string | null | undefined): string | undefined {
  const cleaned = value?.replace(UNPRINTABLE, '').trim().slice(0, MAX_TEXT);
  return cleaned === '' ? undefined : cleaned;
}
