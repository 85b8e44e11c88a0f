import type { z } from 'zod';
import type { JsonValue } from '../core/worker-host.js';

/** What the configuration needs to know of one built-in worker. */
export interface CatalogEntry {
  /** The canonical name, e.g. `queue`. */
  readonly name: string;
  /** Other spellings, e.g. `iii-queue`. */
  readonly aliases: readonly string[];
  /** Validates the `config:` block and fills in defaults; undefined = anything goes. */
  readonly schema: z.ZodType | undefined;
  /** Rules across fields; throws with a message that names the key (`queue_configs.a.type: ...`). */
  validate?(config: unknown): void;
  /** What `iii worker add NAME` writes under `config:`. */
  readonly defaultBlock?: JsonValue;
}

/** The built-in workers, as the configuration is told of them. */
export interface Catalog {
  /** Looks a built-in up by its canonical name or an alias. */
  find(name: string): CatalogEntry | undefined;
  /** For a name that the reference knows and this version lacks: what to tell the user. */
  notBuilt(name: string): string | undefined;
  /** All spellings, for the nearest-name hint. */
  names(): string[];
}
