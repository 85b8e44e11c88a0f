/**
 * A session is one connected worker, remote or in-process: who it is, what it registered, and the
 * calls that involve it.
 *
 *   open -> closed                   a clean end, or a client that cannot reattach
 *   open -> detached                 the socket of a client that can reattach is gone; grace runs
 *   detached -> closed               grace over, or its successor has registered everything again
 *
 * A detached session keeps its routes and bindings, and its functions where nobody else serves them
 * (calls of them wait); what it ran and waits for goes to the session that reattaches to it, see
 * `reattach.ts`. A closed session owns nothing: its functions, trigger types and triggers are gone
 * and every call that involved it is answered. The transitions are `Core.detach` and `Core.close`.
 *
 * An open session is *provisional* until it has described itself (SDKs do so last) or a second has
 * passed: its functions serve only where no settled owner exists, and for itself.
 */
import { DEFAULT_NAMESPACE, type ErrorBody } from '@trine/protocol';
import { CallList } from './call-list.js';
import type { Log, LogFields } from './log.js';
import type { PendingCall, Waiter } from './pending-call.js';
import type { FunctionOwner } from './registry.js';
import type { SessionAccess } from './session-access.js';
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
  /** What the SDK says it can do, e.g. `large-messages.v1`. */
  features: readonly string[];
}

export type SessionKind = 'remote' | 'local' | 'engine';

/** How a session's functions stand beside those of others: the lowest serves. */
export const Standing = { settled: 0, provisional: 1, detached: 2 } as const;

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
    features: [],
  };
  /** What a client must show to take over from this session; undefined where nobody can. */
  readonly reattachToken: string | undefined = undefined;
  /** The rules of its listener; undefined where there are none. */
  readonly access: SessionAccess | undefined;
  /** Peer address, for remote sessions. */
  readonly address: string | undefined;
  namespace = DEFAULT_NAMESPACE;
  state: 'open' | 'detached' | 'closed' = 'open';
  /** Has not described itself yet; in-process sessions are settled from the start. */
  provisional = false;
  /** The functions it offers, served or waiting in a stack. */
  readonly functions = new Set<FunctionOwner>();
  /** Calls that it runs. */
  readonly executing = new CallList('executing');
  /** Calls that it made and waits for. */
  readonly waiting = new CallList('waiting');

  protected constructor(
    id: string,
    kind: SessionKind,
    connectedAtMs: number,
    address?: string,
    access?: SessionAccess,
  ) {
    this.id = id;
    this.kind = kind;
    this.connectedAtMs = connectedAtMs;
    this.address = address;
    this.access = access;
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

  /** What can be known of the worker is known: it has described itself, or had the time to. */
  known(): void {
    // Only a session on a socket depends on it.
  }

  /** Has the worker certainly received a call that it runs? */
  hasConfirmed(_call: PendingCall): boolean {
    return true;
  }

  /** Cuts the connection off, as if the socket had dropped: `Core.detach`. */
  cut(_reason: string): void {
    // There is nothing to cut in this process.
  }

  /** Logs what this worker did wrong. */
  warn(log: Log, message: string, fields: LogFields): void {
    log.warn(message, { worker: this.label, ...fields });
  }

  get standing(): number {
    if (this.state !== 'open') return Standing.detached;
    return this.provisional ? Standing.provisional : Standing.settled;
  }

  /** Time for a message to this worker and back, in milliseconds, measured now. Never settles when it leaves first. */
  roundTrip(): Promise<number> {
    return Promise.resolve(0);
  }

  get caller(): Caller {
    return { workerId: this.id, workerName: this.info.name, kind: this.kind, sdkVersion: this.info.version };
  }

  /** The name for logs. */
  get label(): string {
    return this.info.name ?? this.id;
  }
}
