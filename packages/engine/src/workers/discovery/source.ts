import type { Core } from '../../core/core.js';
import type { JsonValue } from '../../core/worker-host.js';

/** An in-process worker, as lists show it. */
export interface BuiltInInfo {
  /** The entry in config.yaml, as typed. */
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly connectedAtMs: number;
  /** Always there, configured or not. */
  readonly internal: boolean;
  /** Id of its session. */
  readonly sessionId: string;
}

/** What discovery may look at: the core, and what the wiring knows of the built-ins. */
export interface DiscoverySource {
  readonly core: Core;
  readonly version: string;
  builtIns(): readonly BuiltInInfo[];
  /** What a worker measured of itself lately; undefined when it told nothing. */
  latestMetrics(workerId: string): { readonly [name: string]: JsonValue } | undefined;
}
