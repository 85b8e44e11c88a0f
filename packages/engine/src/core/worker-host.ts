/**
 * The contract between the engine and a built-in worker. A built-in receives a `WorkerHost` and
 * nothing else, so it can be removed without touching the core.
 */
import { TrineError, type ErrorBody, type Payload } from '@trine/protocol';
import type { z } from 'zod';
import type { Channel } from './channel.js';
import type { ChannelOptions } from './channels.js';
import type { Clock } from './clock.js';
import type { Log } from './log.js';
import type { CallHandle } from './pending-call.js';
import type { Random } from './random.js';
import type { Storage } from './store.js';

/** Who made a call. */
export interface Caller {
  readonly workerId: string;
  /** The name the worker reported, or undefined while it has not. */
  readonly workerName: string | undefined;
  readonly kind: 'remote' | 'local' | 'engine';
  /** Version of the SDK the worker reported, e.g. `0.11.6`. */
  readonly sdkVersion: string | undefined;
}

/** What every in-process handler gets beside its input. */
export interface HandlerContext {
  readonly caller: Caller;
  /** The namespace the function was called in. */
  readonly namespace: string;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
  readonly metadata: Payload | undefined;
  /** The input as it came: for handlers that keep the raw text of a value (`memberText(payload.json, 'value')`). */
  readonly payload: Payload;
  /** May this caller call that function? A handler that acts on a function id from a payload must ask. */
  mayCall(functionId: string, namespace?: string): boolean;
}

/** `undefined` = no result at all (clients see undefined / None); null = an explicit null. */
export type HandlerResult = Payload | JsonValue | undefined;
export type JsonValue =
  string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue | undefined };

export interface FunctionDefinition<Input = unknown> {
  readonly id: string;
  readonly description?: string;
  /** Validates the input; its JSON Schema is what introspection shows. Null input reads as `{}` for `engine::*`. */
  readonly request?: z.ZodType<Input>;
  readonly response?: z.ZodType;
  /** Free JSON shown by introspection; `{ internal: true }` hides the function from lists. */
  readonly metadata?: JsonValue;
  /**
   * The handler reads `context.payload` itself: the engine neither parses nor validates the input (it
   * passes undefined), and `request` serves introspection alone. For hot paths, see `RawInput`.
   */
  readonly raw?: boolean;
  /**
   * Serves one call. Throw a `TrineError` to answer with its code; anything else thrown becomes
   * `invocation_failed`. A handler that returns without a promise answers in the same turn.
   */
  handler(input: Input, context: HandlerContext): HandlerResult | Promise<HandlerResult>;
}

/** A trigger as its provider sees it. */
export interface TriggerBinding {
  readonly id: string;
  readonly type: string;
  readonly functionId: string;
  /** Where the target and condition functions are looked up. */
  readonly namespace: string;
  readonly config: unknown;
  readonly metadata: Payload | undefined;
  /** The worker that registered it; undefined for persistent ones. */
  readonly workerId: string | undefined;
  readonly workerName: string | undefined;
}

export interface TriggerTypeDefinition {
  readonly id: string;
  readonly description: string;
  /** JSON Schema of a trigger's config, of what its function receives, and of what it may return. */
  readonly configSchema?: z.ZodType;
  readonly requestSchema?: z.ZodType;
  readonly responseSchema?: z.ZodType;
  /**
   * Starts serving a trigger. Throw to refuse it: the message goes to the registering worker as
   * `trigger_registration_failed`. Binding an id that is bound already replaces it. Later frames of
   * the registering worker wait for a returned promise.
   */
  bind(trigger: TriggerBinding): void | Promise<void>;
  /**
   * Stops serving a trigger.
   * @param reason - `unregistered`: someone asked for it; `disconnected`: its worker went away;
   *   `stopped`: this provider is being stopped (the trigger is kept and bound again by the next one)
   */
  unbind(trigger: TriggerBinding, reason: UnbindReason): void | Promise<void>;
}

/**
 * Thrown by `TriggerTypeDefinition.bind`: the registering worker is told of a refusal, but the
 * provider keeps the trigger and may put it in service later, see `WorkerHost.activateTrigger`. Until
 * then it is not listed; it ends like any other.
 */
export class KeptAsideError extends TrineError {}

export type UnbindReason = 'unregistered' | 'disconnected' | 'stopped';

export interface InvokeRequest {
  readonly functionId: string;
  readonly payload: Payload;
  /** Default `default`. */
  readonly namespace?: string;
  readonly metadata?: Payload | undefined;
  readonly traceparent?: string | undefined;
  readonly baggage?: string | undefined;
  /** Answer with `invocation_timeout` after this many milliseconds instead of the engine's ceiling (30 min). */
  readonly timeoutMs?: number;
  /** `newest` (default): the newest live owner serves. `replicas`: the least-loaded live owner of the newest's worker name. */
  readonly consumers?: 'newest' | 'replicas';
  /** Takes hold of the call: `handle.cancel()` gives it up. One handle per call. */
  readonly handle?: CallHandle;
  /**
   * Told, at most once, of an answer that comes after `timeoutMs`. Best effort: 10,000 such calls are
   * remembered, and an answer is heard while the connection that ran the call lives.
   */
  readonly late?: (outcome: Outcome) => void;
}

/** What a condition function says about a call of its target. */
export type Condition =
  | { readonly verdict: 'run' | 'skip' }
  /** The function did not answer; `cause` and `worker` as in `Outcome`. */
  | {
      readonly verdict: 'error';
      readonly error: ErrorBody;
      readonly cause: FailureCause;
      readonly worker?: string;
    };

/** How a call ended. Never an exception: results that cross the wire are values. */
export type Outcome =
  | { readonly ok: true; readonly result: Payload | undefined }
  | {
      readonly ok: false;
      readonly error: ErrorBody;
      readonly cause: FailureCause;
      /** The worker that was asked, where the call was lost. */
      readonly worker?: string;
    };

/**
 * `handler`: the function ran and failed. `not_found`: nobody serves the id, it did not run.
 * `lost`: the executor's connection ended, it may or may not have run. `timeout`: no answer in time.
 * `refused`: the engine did not deliver it (message too large for the worker, its outbound side full).
 */
export type FailureCause = 'handler' | 'not_found' | 'lost' | 'timeout' | 'refused';

/** One call of a function behind an HTTP address. */
export interface HttpFunctionCall {
  /** The caller's own id where it has one, else the engine's. */
  readonly invocationId: string;
  readonly payload: Payload;
  readonly traceparent: string | undefined;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** Sends one call to its address. Reject with a `TrineError` to answer with its code. */
export type HttpFunctionHandler = (call: HttpFunctionCall) => Promise<Payload | undefined>;

/** Serves the functions that workers register with an address (`invocation` of `registerfunction`). */
export interface HttpFunctionServer {
  /**
   * Takes in one registration.
   *
   * @throws TrineError to refuse it: the message is logged with the function and its worker
   */
  open(definition: {
    readonly functionId: string;
    /** As the worker sent it. */
    readonly invocation: unknown;
    readonly workerId: string;
    /** The worker's name for logs. */
    readonly worker: string;
  }): HttpFunctionHandler;
}

export interface Registration {
  /** Takes the registration back. Idempotent. */
  remove(): void;
}

/** A read-only view of who offers what. */
export interface RegistryView {
  hasFunction(functionId: string, namespace?: string): boolean;
  /** Tells of functions that became callable or stopped being so. */
  onFunction(
    listener: (event: { readonly available: boolean; readonly functionId: string; readonly namespace: string }) => void,
  ): Registration;
  onWorker(
    listener: (event: {
      readonly kind: 'connected' | 'updated' | 'disconnected';
      readonly workerId: string;
      readonly name: string | undefined;
      readonly pid: number | undefined;
    }) => void,
  ): Registration;
}

/**
 * Channels of a built-in worker. It takes an end with `channel.takeReader(sink)` or
 * `channel.takeWriter(source)`, or as Node streams with `new ChannelReader(channel)` and `new
 * ChannelWriter(channel)` of `channel-streams.ts`; the other end goes into a payload as `channel.ref(...)`.
 */
export interface HostChannels {
  /**
   * Makes a channel that ends with this worker.
   *
   * @throws TrineError `too_many_channels`
   */
  create(options?: ChannelOptions): Channel;
  /** One for all: a channel that is at its end, for whoever has nothing to write. */
  readonly ended: Channel;
  /** The channel of a ref that came in a payload, or undefined where there is none by that id and key. */
  open(ref: { readonly channel_id: string; readonly access_key: string }): Channel | undefined;
}

export interface WorkerHost {
  /** The name of the entry in config.yaml, as the user typed it (`iii-queue` or `queue`); with `#1`, ... for further entries of one name. */
  readonly entryName: string;
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
  readonly storage: Storage;
  readonly registry: RegistryView;
  readonly channels: HostChannels;
  /** The project folder: relative paths in the configuration start here. */
  readonly projectDir: string;
  /** Absolute path of the data folder (`<project>/data` unless configured). Created by whoever writes first. */
  readonly dataDir: string;
  registerFunction<Input>(definition: FunctionDefinition<Input>): Registration;
  registerTriggerType(definition: TriggerTypeDefinition): Registration;
  /** Binds a trigger owned by this worker. */
  registerTrigger(trigger: {
    readonly id?: string;
    readonly type: string;
    readonly functionId: string;
    readonly config?: JsonValue;
    readonly metadata?: JsonValue;
    readonly namespace?: string;
  }): Promise<Registration>;
  /**
   * Serves the functions that live behind HTTP addresses. They belong to the workers that registered them;
   * when this registration is removed they are withdrawn.
   */
  serveHttpFunctions(server: HttpFunctionServer): Registration;
  /** A trigger that `bind` had put aside is in service now: it is listed from here on. */
  activateTrigger(triggerId: string): void;
  /** Calls a function and waits for its outcome. Adds no `_caller_worker_id`. */
  invoke(request: InvokeRequest): Promise<Outcome>;
  /**
   * The same without a promise, for fan-outs: `settled` is called once with the outcome, possibly in this
   * turn.
   */
  invoke(request: InvokeRequest, settled: (outcome: Outcome) => void): void;
  /**
   * Asks a condition function (the same payload, no metadata). `run` unless it answered exactly
   * `false` (`skip`); a failing condition is `error`: the target must not run.
   */
  condition(functionId: string, request: Omit<InvokeRequest, 'functionId' | 'metadata'>): Promise<Condition>;
  /** What `engine::health::check` shows of this worker, under its name: asked each time, so it must be cheap. */
  reportHealth(report: () => HealthReport): Registration;
  /** Publishes a port that this worker listens on, shown as `engine.ports[name]`. */
  reportPort(name: string, port: number): void;
}

/** What a built-in worker says of what it depends on, in `engine::health::check`. */
export interface HealthReport {
  /** `degraded`: something that it needs is away, refuses or is slow; `details` tell what, and what to do. */
  readonly status: 'healthy' | 'degraded';
  readonly details: { readonly [name: string]: JsonValue | undefined };
}

export interface RunningWorker {
  /**
   * Applies a changed configuration without a restart. All or nothing: throw to refuse, and the old
   * one stays in force. Leave it out to be stopped and started again instead.
   */
  reconfigure?(config: unknown): void | Promise<void>;
  /** Stops taking new work (no new requests, no dispatch); what runs may finish. Called before `stop`. */
  drain?(): void | Promise<void>;
  /** Asked after `drain`: is all that it had begun over? The engine waits for it, up to a deadline. Left out = yes. */
  isIdle?(): boolean;
  stop(): void | Promise<void>;
}

export interface WorkerDefinition<Config = unknown> {
  /** The canonical (short) name, e.g. `queue`. */
  readonly name: string;
  /** Other spellings, e.g. `iii-queue`. */
  readonly aliases: readonly string[];
  /** One sentence for lists. */
  readonly description: string;
  /** Defaults, docs and validation come from this one schema. Must be strict: unknown keys are errors. */
  readonly config: z.ZodType<Config>;
  /** What `iii worker add NAME` writes under `config:`; left out = a bare entry. */
  readonly defaultBlock?: JsonValue;
  /** Cross-field rules; throw with a message that names the key. Runs before start and before reconfigure. */
  validate?(config: Config): void;
  start(host: WorkerHost, config: Config): RunningWorker | Promise<RunningWorker>;
}

/** Types a built-in worker's definition. */
export function defineWorker<Config>(definition: WorkerDefinition<Config>): WorkerDefinition {
  return definition;
}
