/**
 * What an adapter can do beyond the core. Each name has a conformance suite of its own; an adapter
 * declares what it has, and what it lacks is answered by name.
 */
import { TrineError } from '@trine/protocol';
import { QueueCode } from '../errors.js';

export const capabilities = {
  batch: 'several jobs in one transaction, all or nothing',
  cancel: 'taking back a job that waits',
  dead_discard: 'deleting one dead letter',
  dead_edit: 'changing a dead letter',
  dead_filter: 'filters over dead letters',
  dead_retention: 'dead letters that go after a time',
  delay: 'jobs that run later',
  expiry: 'jobs that expire while they wait',
  global_concurrency: 'a bound of running jobs over all engines',
  held_messages: 'messages of a topic without subscribers are kept for the first one',
  keep_ended: 'ended jobs that stay on record',
  late_success: 'an answer after the timeout ends the job before its next run',
  lookup: 'finding a job by its receipt',
  pause: 'pausing a queue',
  peek: 'looking at what waits',
  priority: 'jobs that go first',
  purge: 'dropping what waits',
  rate: 'limits of starts in a time',
  replay: 'delivering messages of a topic again',
  unique: 'unique keys',
} as const;

export type Capability = keyof typeof capabilities;
export type AdapterName = 'builtin' | 'postgres' | 'rabbitmq' | 'redis';

const everything: ReadonlySet<Capability> = new Set(Object.keys(capabilities) as Capability[]);

/** What each adapter declares. An adapter's suite fails where it does not keep this. */
export const adapterCapabilities: Readonly<Record<AdapterName, ReadonlySet<Capability>>> = {
  builtin: everything,
  postgres: everything,
  rabbitmq: new Set<Capability>(['dead_discard', 'dead_edit', 'delay', 'pause', 'priority']),
  redis: everything,
};

/** The answer to a request that needs what an adapter does not have. */
export function notSupported(adapter: AdapterName, capability: Capability, what: string): TrineError {
  const having = (Object.keys(adapterCapabilities) as AdapterName[]).filter((name) =>
    adapterCapabilities[name].has(capability),
  );
  return new TrineError(
    QueueCode.notSupportedByAdapter,
    `${what}: the ${adapter} adapter of queue cannot do this (${capability}: ${capabilities[capability]}). ` +
      `Adapters that can: ${having.join(', ')}`,
  );
}

/** @throws TrineError `not_supported_by_adapter` */
export function needCapability(
  broker: { readonly adapter: AdapterName; readonly capabilities: ReadonlySet<Capability> },
  capability: Capability,
  what: string,
): void {
  if (!broker.capabilities.has(capability)) throw notSupported(broker.adapter, capability, what);
}
