import type { ClientProcess } from '../client-process.js';
import type { CompatEngine } from '../compat-engine.js';

/** What a client and an engine do together, as one row of the matrix. */
export interface Feature {
  readonly id: string;
  readonly title: string;
  /** `restarted`: seen after the engine has restarted under its clients. Default `running`. */
  readonly phase?: 'running' | 'restarted';
  /** Throws what is wrong. */
  run(scene: Scene): Promise<void>;
}

export interface Scene {
  readonly engine: CompatEngine;
  /** Whose feature it is. */
  readonly client: ClientProcess;
  /** Another SDK, which is busy with its own features meanwhile. */
  readonly partner: ClientProcess;
  /** Another SDK that has triggers of its own: the partner, but for the newest. */
  readonly binder: ClientProcess;
}

/** What every client serves from its start, beside what features add. */
export const STANDARD_FUNCTIONS = ['echo', 'fail', 'relay', 'consume', 'produce', 'news'] as const;
