/** What an SDK cannot do, whatever the engine: the one place where a feature is left out, with the reason. */
import { isSince, METADATA_SINCE, type Client } from './clients.js';

interface Absence {
  readonly feature: string;
  readonly reason: string;
  readonly isIn: (client: Client) => boolean;
}

/** Clients that take messages of more than 1 MiB. */
const takesBigMessages = (client: Client): boolean =>
  isSince(client, { node: '0.0.0', python: '0.24.5', rust: '0.0.0', go: '0.0.0' });

const ABSENCES: readonly Absence[] = [
  {
    feature: 'metadata',
    reason: 'calls have metadata since 0.21',
    isIn: (client) => isSince(client, METADATA_SINCE),
  },
  ...['trigger-types', 'trigger-types-unbind', 'trigger-types-withdrawn'].map((feature) => ({
    feature,
    reason: 'the SDK has no triggers any more; what it binds, it binds by `engine::register_trigger`',
    isIn: (client: Client) => !isSince(client, { rust: '0.26.0-rc.0' }),
  })),
  {
    feature: 'trigger-types-unbind',
    reason: 'the SDK ignores `unregistertrigger`',
    isIn: (client) => isSince(client, { node: '0.19.0', python: '0.22.0', rust: '0.11.0', go: '0.11.0' }),
  },
  {
    feature: 'access-bearer-token',
    reason: 'the SDK does not read `III_TOKEN`',
    isIn: (client) => isSince(client, { python: '0.24.1', rust: '0.26.0-rc.0' }),
  },
  {
    feature: 'access-query',
    reason: 'the SDK appends to the address without minding its query',
    isIn: (client) => isSince(client, { python: '0.24.1', rust: '0.26.0-rc.0' }),
  },
  {
    feature: 'namespaces',
    reason: 'namespaces came with 0.23',
    isIn: (client) => isSince(client, { node: '0.23.0', python: '0.23.0', rust: '0.23.0', go: '0.23.0' }),
  },
  {
    feature: 'explicit-null',
    reason: 'the SDK leaves out a result that is null',
    isIn: (client) => isSince(client, { node: '0.0.0', python: '0.24.0', rust: '0.11.0' }),
  },
  {
    feature: 'observe',
    reason: 'observers came with 0.25',
    isIn: (client) => isSince(client, { python: '0.25.0', rust: '0.26.0-rc.0' }),
  },
  { feature: 'big-messages', reason: 'the SDK takes 1 MiB at most', isIn: takesBigMessages },
  { feature: 'small-messages', reason: 'the SDK takes 64 MiB', isIn: (client) => !takesBigMessages(client) },
];

/** Why a client has not a feature; undefined: it has it. */
export function absence(client: Client, feature: string): string | undefined {
  return ABSENCES.find((each) => each.feature === feature && !each.isIn(client))?.reason;
}
