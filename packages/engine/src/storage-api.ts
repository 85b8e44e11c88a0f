/** Looking after the files of a project without an engine: `@trine/engine/storage`. */
import { triggerStore } from './workers/discovery/index.js';
import { queueStore } from './workers/queue/index.js';
import { stateStore } from './workers/state/index.js';
import { streamStore } from './workers/stream/index.js';

export {
  backupDatabase,
  inspectDatabase,
  repairDatabase,
  takeDataFolder,
  type Backup,
  type Finding,
  type Inspection,
  type Repair,
} from './storage/index.js';

/** The newest schema of each store that this version knows. */
export const KNOWN_SCHEMAS: Readonly<Record<string, number>> = Object.fromEntries(
  [queueStore, stateStore, streamStore, triggerStore].map(({ name, migrations }) => [name, migrations.length]),
);
