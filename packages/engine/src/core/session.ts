/**
 * A session is one connected worker, remote or in-process: who it is, what it registered, and the
 * calls that involve it.
 *
 * States: `open` -> `closed`. A closed session owns nothing: its functions, trigger types and
 * triggers are gone and every call that involved it is answered. The one transition is
 * `Core.close(session)`. (A `detached` state between the two belongs to reattaching clients.)
 */
import { DEFAULT_NAMESPACE, type ErrorBody } from '@trine/protocol';
import type { PendingCall, Waiter } from './pending-call.js';
import type { FunctionOwner } from './registry.js';
import type { Caller, Outcome } from './worker-host.js';

/** What a worker told of itself in `engine::workers::register`. */
export interface WorkerInfo {
  name: string | undefined;
  description: string | undefined;
  runtime: string | undefined;
  /** Version of its SDK. */
  version: string | undefined;
  os: string | undefined;
  pid: number | undefined;
  isolation: string | undefined;
  telemetry: unknown;
}

export type SessionKind = 'remote' | 'local' | 'engine';

export abstract class Session {
  readonly id: string;
  readonly kind: SessionKind;
  readonly connectedAtMs: number;
  readonly info: WorkerInfo = {
    name: undefined,
    description: undefined,
    runtime: undefined,
    version: undefined,
    os: undefined,
    pid: undefined,
    isolation: undefined,
    telemetry: undefined,
  };
  /** Peer address, for remote sessions. */
  readonly address: string | undefined;
  namespace = DEFAULT_NAMESPACE;
  state: 'open' | 'closed' = 'open';
  /** The functions it offers, served or waiting in a stack. */
  readonly functions = new Set<FunctionOwner>();
  /** Calls that it runs. */
  readonly executing = new Set<PendingCall>();
  /** Calls that it made and waits for. */
  readonly waiting = new Set<PendingCall>();

  protected constructor(id: string, kind: SessionKind, connectedAtMs: number, address?: string) {
    this.id = id;
    this.kind = kind;
    this.connectedAtMs = connectedAtMs;
    this.address = address;
  }

  /** Hands a call to this worker. The call is pending already; it ends through `Router.complete`. */
  abstract execute(call: PendingCall): void;

  /** Hands the outcome of a call to this worker, which made it. */
  abstract deliver(waiter: Waiter, outcome: Outcome): void;

  /** Tells the worker that a trigger it registered was refused or taken out of service. */
  abstract reportTriggerError(
    trigger: { readonly id: string; readonly type: string; readonly functionId: string },
    error: ErrorBody,
  ): void;

  get caller(): Caller {
    return { workerId: this.id, workerName: this.info.name, kind: this.kind, sdkVersion: this.info.version };
  }

  /** The name for logs. */
  get label(): string {
    return this.info.name ?? this.id;
  }
}
