/**
 * A call on its way.
 *
 * States: `pending` -> `done`, once, in `Router.complete`. The entry exists before the frame leaves,
 * so an answer can never arrive before it.
 */
import { Payload } from '@trine/protocol';
import { CallLink } from './call-list.js';
import type { Timer } from './clock.js';
import type { FunctionOwner } from './registry.js';
import type { Session } from './session.js';
import type { Outcome } from './worker-host.js';

/** In place of a number: the worker has the call, by whichever connection. */
export const RECEIVED = 0;

export class PendingCall implements Waiter {
  /** Unique in this engine; the executor sees an id that is made of it (`Router.idOf`). 0 until the call is filed as pending. */
  number: number;
  owner: FunctionOwner;
  /** The session that runs it; another than the owner's after the worker has reattached. */
  executor: Session;
  caller: Session;
  /** The id that the caller knows this call by; undefined when it waits for no answer. */
  readonly callerInvocationId: string | undefined;
  readonly functionId: string;
  readonly namespace: string;
  payload: Payload;
  metadata: Payload | undefined;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
  /** Steady clock, milliseconds. */
  readonly startedMs: number;
  /** After this many milliseconds the call is answered with `invocation_timeout`. */
  readonly timeoutMs: number;
  /** Where an in-process caller waits. */
  readonly settle: ((outcome: Outcome) => void) | undefined;
  timer: Timer | undefined;
  /** Told of an answer that comes after the call timed out. */
  late: ((outcome: Outcome) => void) | undefined;
  /** Told of the end, by the one in this process who runs the call. */
  onEnd: (() => void) | undefined;
  /** Not sent yet: its function's owner is detached. */
  held = false;
  /** The number under which it was written to the executor's socket, see `Confirmations`. */
  written = RECEIVED;
  done = false;
  /** Its places in the lists of who runs it and of who waits for it. */
  readonly executingLink = new CallLink();
  readonly waitingLink = new CallLink();

  constructor(
    number: number,
    owner: FunctionOwner,
    caller: Session,
    callerInvocationId: string | undefined,
    request: CallRequest,
    payload: Payload,
    startedMs: number,
    timeoutMs: number,
    settle: ((outcome: Outcome) => void) | undefined,
  ) {
    this.number = number;
    this.owner = owner;
    this.executor = owner.session;
    this.caller = caller;
    this.callerInvocationId = callerInvocationId;
    this.functionId = request.functionId;
    this.namespace = request.namespace;
    this.payload = payload;
    this.metadata = request.metadata;
    this.traceparent = request.traceparent;
    this.baggage = request.baggage;
    this.startedMs = startedMs;
    this.timeoutMs = timeoutMs;
    this.settle = settle;
  }

  /** Does anybody wait for the answer? Of a void call nobody does. */
  get isAwaited(): boolean {
    return this.callerInvocationId !== undefined || this.settle !== undefined;
  }

  /** Forgets what is on its way to the executor: a call may wait for its answer for long. */
  sent(): void {
    this.payload = Payload.null;
    this.metadata = undefined;
  }

  /** Steady clock, milliseconds. */
  get deadline(): number {
    return this.startedMs + this.timeoutMs;
  }
}

/** What a handle asks of the router. */
interface CallKeeper {
  cancel(call: PendingCall): void;
  extend(call: PendingCall, timeoutMs: number): boolean;
}

/** A caller's hold on a call that it made, see `InvokeRequest.handle`. */
export class CallHandle {
  #router: CallKeeper | undefined;
  #call: PendingCall | undefined;

  /** For the router. */
  hold(router: CallKeeper, call: PendingCall): void {
    this.#router = router;
    this.#call = call;
  }

  /** Gives up: the call ends now, its outcome is an error `invocation_cancelled`. The function cannot be stopped. */
  cancel(): void {
    if (this.#call !== undefined) this.#router?.cancel(this.#call);
  }

  /** The call, which has a timeout of its own, may take this long from now on. Answers false when it has ended. */
  extend(timeoutMs: number): boolean {
    return this.#call !== undefined && this.#router?.extend(this.#call, timeoutMs) === true;
  }

  /** Time for a message to the worker that was asked and back, in milliseconds. Never settles when that leaves. */
  roundTrip(): Promise<number> {
    return this.#call?.executor.roundTrip() ?? Promise.resolve(0);
  }
}

/** What is needed to answer a caller. */
export interface Waiter {
  readonly callerInvocationId: string | undefined;
  readonly settle: ((outcome: Outcome) => void) | undefined;
  readonly functionId: string;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
}

/** The part of a call that its caller decides. */
export interface CallRequest {
  readonly functionId: string;
  readonly namespace: string;
  readonly metadata: Payload | undefined;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
}

/** Sees every call at its end, before its caller does. Must not throw, keep the call or change anything. */
export interface CallRecorder {
  /** @param nowMs - steady clock, milliseconds */
  ended(call: PendingCall, outcome: Outcome, nowMs: number): void;
}
