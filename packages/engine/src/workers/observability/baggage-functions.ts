/** `engine::baggage::*`: what a call carries. Diagnostic: a worker passes its baggage on through its SDK. */
import { z } from 'zod';
import type { Registration, WorkerHost } from '../../core/worker-host.js';

/** Longest baggage that is read, in characters (the limit of the W3C's format). */
const MAX_BAGGAGE_CHARS = 8_192;

export function baggageFunctions(host: WorkerHost): Registration[] {
  return [
    host.registerFunction({
      id: 'engine::baggage::get',
      description: 'The value of one entry of the baggage of this call, or null',
      request: z.object({ key: z.string() }),
      handler: ({ key }, { baggage }) => ({ value: entries(baggage).get(key) ?? null }),
    }),
    host.registerFunction({
      id: 'engine::baggage::set',
      description: 'Changes nothing outside of this call: baggage travels with calls',
      request: z.object({ key: z.string(), value: z.string() }),
      handler: () => ({
        success: true,
        note: 'Baggage set in new context. For propagation, use SDK-level baggage headers.',
      }),
    }),
    host.registerFunction({
      id: 'engine::baggage::get_all',
      description: 'The baggage of this call',
      request: z.object({}),
      handler: (_input, { baggage }) => ({ baggage: Object.fromEntries(entries(baggage)) }),
    }),
  ];
}

/** The entries of a `baggage` header: `name=value;property, ...`, values percent-encoded. */
function entries(baggage: string | undefined): Map<string, string> {
  const found = new Map<string, string>();
  for (const member of (baggage ?? '').slice(0, MAX_BAGGAGE_CHARS).split(',')) {
    const [entry = ''] = member.split(';');
    const at = entry.indexOf('=');
    if (at > 0) found.set(entry.slice(0, at).trim(), decode(entry.slice(at + 1).trim()));
  }
  return found;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
