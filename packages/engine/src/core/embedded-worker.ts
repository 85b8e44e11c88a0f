/**
 * A worker inside the process of someone who embeds the engine: the official SDK's verbs without a
 * socket.
 */
import { DEFAULT_NAMESPACE, ErrorCode, Payload, TrineError, type Action, type ErrorBody } from '@trine/protocol';
import { channelPair, ChannelReader, ChannelWriter, type ChannelPair } from './channel-streams.js';
import type { Channel, ChannelRef } from './channel.js';
import type { Core } from './core.js';
import { LocalSession } from './local-session.js';
import type { JsonValue } from './worker-host.js';

/** How long `trigger` waits for an answer unless told otherwise, in milliseconds (the SDKs' default). */
export const DEFAULT_TRIGGER_TIMEOUT_MS = 30_000;

/** Builds the `action` of a `trigger` call, as the official SDKs do. */
export const TriggerAction = {
  /** Send and forget: `trigger` resolves at once. */
  Void: (): Action => ({ type: 'void' }),
  /** Put the call on a queue: `trigger` resolves with `{ messageReceiptId }` once the job is on disk. */
  Enqueue: (options: { readonly queue: string }): Action => ({ type: 'enqueue', queue: options.queue }),
} as const;

export interface FunctionOptions {
  readonly description?: string;
  /** JSON Schema of input and output, shown by `engine::functions::info`. */
  readonly request_format?: unknown;
  readonly response_format?: unknown;
  readonly metadata?: JsonValue;
}

export interface FunctionHandle {
  readonly id: string;
  unregister(): void;
}

export interface TriggerInput {
  readonly type: string;
  readonly function_id: string;
  readonly config?: unknown;
  readonly metadata?: unknown;
}

export interface TriggerHandle {
  readonly id: string;
  /** Resolves when the trigger is bound or waits for its type; rejects when it was refused. */
  readonly ready: Promise<void>;
  unregister(): void;
}

export interface TriggerRequest<Input = unknown> {
  readonly function_id: string;
  readonly payload?: Input;
  readonly action?: Action;
  /** Give up with code `TIMEOUT` after this many milliseconds. Default 30,000. */
  readonly timeoutMs?: number;
  readonly metadata?: unknown;
}

/**
 * @example
 * const worker = engine.worker('math');
 * worker.registerFunction('math::add', async ({ a, b }) => ({ c: a + b }));
 * await worker.trigger({ function_id: 'math::add', payload: { a: 1, b: 2 } }); // { c: 3 }
 */
export class EmbeddedWorker {
  readonly #core: Core;
  readonly #session: LocalSession;
  readonly #functions = new Set<string>();
  /** Registrations under way: like frames on a socket, what follows waits for them. */
  #binding: Promise<unknown> | undefined;

  constructor(core: Core, name: string) {
    this.#core = core;
    this.#session = new LocalSession(core, 'local', name);
  }

  get id(): string {
    return this.#session.id;
  }

  get name(): string {
    return this.#session.label;
  }

  /** True after `shutdown()`, or when the engine has stopped. */
  get closed(): boolean {
    return this.#session.state === 'closed';
  }

  /**
   * Offers a function. The handler gets the payload (a value of its own) and the call's metadata; what
   * it returns is the result, what it throws is an error with code `invocation_failed` (or the code of
   * a thrown `TrineError`).
   *
   * @throws TrineError `INVALID_ARGUMENTS` for an empty id or one that this worker offers already,
   *   `invocation_stopped` when it has left the engine
   */
  registerFunction<Input = unknown, Output = unknown>(
    id: string,
    handler: (data: Input, metadata: unknown) => Output | Promise<Output>,
    options: FunctionOptions = {},
  ): FunctionHandle {
    this.#checkOpen();
    if (id === '') throw new TrineError(ErrorCode.invalidArguments, 'a function needs an id that is not empty');
    if (this.#functions.has(id))
      throw new TrineError(ErrorCode.invalidArguments, `function ${id} is registered already by worker ${this.name}`);
    const registration = this.#session.register({
      id,
      description: options.description,
      requestFormat: () => options.request_format,
      responseFormat: () => options.response_format,
      metadata: options.metadata,
      handler: async (payload, context) => {
        const result: unknown = await handler(payload.fork().value as Input, context.metadata?.fork().value);
        return result === undefined ? undefined : Payload.fromForeign(result);
      },
    });
    this.#functions.add(id);
    return {
      id,
      unregister: () => {
        this.#functions.delete(id);
        registration.remove();
      },
    };
  }

  /**
   * Binds a function to a trigger type. A type that nobody provides yet is waited for.
   *
   * @throws TrineError `invocation_stopped` when this worker has left the engine
   */
  registerTrigger(input: TriggerInput): TriggerHandle {
    this.#checkOpen();
    const id = this.#core.random.uuid();
    const registered = this.#core.bindings.register({
      id,
      type: input.type,
      functionId: input.function_id,
      namespace: DEFAULT_NAMESPACE,
      triggerNamespace: undefined,
      config: Payload.fromForeign(input.config ?? null),
      metadata: input.metadata === undefined ? undefined : Payload.fromForeign(input.metadata),
      owner: this.#session,
    });
    this.#hold(registered);
    const ready = registered.then((error) => {
      if (error !== undefined) throw new TrineError(error.code, error.message);
    });
    ready.catch(() => undefined); // refused triggers are logged; nobody has to ask
    return { id, ready, unregister: () => this.#hold(this.#core.bindings.unregister(id, this.#session)) };
  }

  /**
   * Calls a function.
   *
   * @returns the result; undefined for void calls and for functions that return nothing
   * @throws TrineError with the code of the failure: `function_not_found`, `invocation_failed`,
   *   `enqueue_error`, `TIMEOUT`, `invocation_stopped` when this worker has left the engine, or what the
   *   function threw
   */
  async trigger<Input = unknown, Output = unknown>(request: TriggerRequest<Input>): Promise<Output> {
    const payload = Payload.fromForeign(request.payload ?? null);
    const metadata = request.metadata === undefined ? undefined : Payload.fromForeign(request.metadata);
    if (this.#binding !== undefined) await this.#binding;
    this.#checkOpen();
    const call = {
      functionId: request.function_id,
      namespace: DEFAULT_NAMESPACE,
      metadata,
      traceparent: undefined,
      baggage: undefined,
    };
    if (request.action?.type === 'void') {
      this.#core.router.call(this.#session, call, payload, { ...LOCAL_CALL, settle: undefined, timeoutMs: undefined });
      return undefined as Output;
    }
    const timeoutMs = request.timeoutMs ?? DEFAULT_TRIGGER_TIMEOUT_MS;
    return new Promise<Output>((resolve, reject) => {
      const settle = (outcome: Parameters<LocalSession['deliver']>[1]): void => {
        if (outcome.ok) resolve(outcome.result?.fork().value as Output);
        else reject(toException(outcome.error, outcome.cause === 'timeout', timeoutMs));
      };
      if (request.action?.type === 'enqueue')
        this.#core.router.enqueue(this.#session, request.action.queue, call, payload, settle, timeoutMs);
      else this.#core.router.call(this.#session, call, payload, { ...LOCAL_CALL, settle, timeoutMs });
    });
  }

  /**
   * Makes a channel. Its ends are the streams `writer` and `reader`, or go into payloads as `writerRef` and
   * `readerRef`; each can be taken once. It ends with this worker.
   *
   * @param bufferSize - in units of 64 KiB, brought into 1 to 1024. Default 64 (4 MiB)
   * @throws TrineError `too_many_channels`
   */
  createChannel(bufferSize?: number): ChannelPair {
    this.#checkOpen();
    return channelPair(this.#core.channels.create(this.#session, { bufferUnits: bufferSize }));
  }

  /**
   * The read end that a payload refers to.
   *
   * @throws TrineError `channel_unavailable` when there is none by that id and key (any more)
   */
  openReader(ref: Omit<ChannelRef, 'direction'>): ChannelReader {
    return new ChannelReader(this.#openChannel(ref));
  }

  /** The write end that a payload refers to. @throws TrineError `channel_unavailable` */
  openWriter(ref: Omit<ChannelRef, 'direction'>): ChannelWriter {
    return new ChannelWriter(this.#openChannel(ref));
  }

  /** Leaves the engine: functions and triggers go, calls under way end with `invocation_stopped`. */
  async shutdown(): Promise<void> {
    await this.#core.close(this.#session);
  }

  /** A session that is closed owns nothing, and nobody would take away what it got now. */
  #checkOpen(): void {
    if (!this.closed) return;
    throw new TrineError(
      ErrorCode.invocationStopped,
      `worker ${this.name} has left the engine: take another one from engine.worker('${this.name}')`,
    );
  }

  #openChannel({ channel_id, access_key }: Omit<ChannelRef, 'direction'>): Channel {
    const channel = this.#core.channels.open(channel_id, access_key);
    if (channel !== undefined) return channel;
    throw new TrineError(ErrorCode.channelUnavailable, `channel ${channel_id} is not there, or its key is another one`);
  }

  #hold(step: Promise<unknown>): void {
    const held = Promise.allSettled([this.#binding, step]);
    this.#binding = held;
    void held.then(() => {
      if (this.#binding === held) this.#binding = undefined;
    });
  }
}

const LOCAL_CALL = { callerInvocationId: undefined, stampCaller: true, replicas: false } as const;

function toException(error: ErrorBody, timedOut: boolean, timeoutMs: number): TrineError {
  return timedOut
    ? new TrineError('TIMEOUT', `invocation timed out after ${timeoutMs}ms`)
    : new TrineError(error.code, error.message);
}
