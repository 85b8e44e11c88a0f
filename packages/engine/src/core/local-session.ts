/**
 * An in-process session: a plain object instead of a socket. Built-ins (`engine` kind) and the code
 * of someone who embeds the engine (`local` kind) both live on one.
 */
import { DEFAULT_NAMESPACE, ErrorCode, Payload, toErrorBody, TrineError, type ErrorBody } from '@trine/protocol';
import type { Core } from './core.js';
import type { PendingCall, Waiter } from './pending-call.js';
import type { FunctionOwner } from './registry.js';
import { Session } from './session.js';
import type { Caller, HandlerContext, HandlerResult, Outcome, Registration } from './worker-host.js';

export interface LocalFunction {
  readonly id: string;
  readonly namespace?: string | undefined;
  readonly description?: string | undefined;
  readonly requestFormat?: () => unknown;
  readonly responseFormat?: () => unknown;
  readonly metadata?: unknown;
  /** Runs one call; may answer in the same turn by returning anything but a promise. */
  handler(payload: Payload, context: HandlerContext): HandlerResult | Promise<HandlerResult>;
}

export class LocalSession extends Session {
  readonly #core: Core;
  /** Where refused triggers are told; set by whoever owns the session. */
  onTriggerError: ((triggerId: string, error: ErrorBody) => void) | undefined;

  constructor(core: Core, kind: 'local' | 'engine', name: string) {
    super(core.random.uuid(), kind, core.clock.now());
    this.#core = core;
    this.info.name = name;
    this.info.runtime = kind === 'engine' ? 'engine' : 'node';
    if (kind === 'local') this.info.pid = process.pid;
    core.open(this);
  }

  /** @throws TrineError `FORBIDDEN` for an id that belongs to the engine */
  register(definition: LocalFunction): Registration {
    const owner: FunctionOwner = {
      id: definition.id,
      namespace: definition.namespace ?? DEFAULT_NAMESPACE,
      session: this,
      description: definition.description,
      requestFormat: definition.requestFormat ?? (() => undefined),
      responseFormat: definition.responseFormat ?? (() => undefined),
      metadata: definition.metadata,
      run: (call) => this.#run(definition, call),
    };
    this.#core.registry.add(owner);
    return { remove: () => this.#core.registry.remove(owner) };
  }

  /** The router runs in-process functions itself, see `FunctionOwner.run`. */
  execute(call: PendingCall): void {
    call.owner.run?.(call);
  }

  deliver(waiter: Waiter, outcome: Outcome): void {
    waiter.settle?.(outcome);
  }

  reportTriggerError(trigger: { readonly id: string }, error: ErrorBody): void {
    this.onTriggerError?.(trigger.id, error);
  }

  #run(definition: LocalFunction, call: PendingCall): void {
    let result: HandlerResult | Promise<HandlerResult>;
    try {
      result = definition.handler(call.payload, new CallContext(this.#core, call));
    } catch (error) {
      this.#failed(call, error);
      return;
    }
    if (result instanceof Promise) {
      result.then(
        (value) => this.#answered(call, value),
        (error: unknown) => this.#failed(call, error),
      );
    } else {
      this.#answered(call, result);
    }
  }

  #answered(call: PendingCall, value: HandlerResult): void {
    try {
      const result = value === undefined ? undefined : value instanceof Payload ? value : Payload.fromForeign(value);
      this.#core.router.complete(call, { ok: true, result });
    } catch (error) {
      // A value without a JSON form (a cycle, a BigInt).
      const message = `Failed to serialize result for ${call.functionId}: ${toErrorBody(error).message}`;
      this.#core.router.fail(call, { code: ErrorCode.serialization, message }, 'handler');
    }
  }

  #failed(call: PendingCall, error: unknown): void {
    if (!(error instanceof TrineError) && this.kind === 'engine') {
      this.#core.log.error('handler failed unexpectedly', { function: call.functionId, error });
    }
    this.#core.router.fail(call, toErrorBody(error), 'handler');
  }
}

class CallContext implements HandlerContext {
  readonly #core: Core;
  readonly #call: PendingCall;

  constructor(core: Core, call: PendingCall) {
    this.#core = core;
    this.#call = call;
  }

  get caller(): Caller {
    return this.#call.caller.caller;
  }

  get namespace(): string {
    return this.#call.namespace;
  }

  get traceparent(): string | undefined {
    return this.#call.traceparent;
  }

  get baggage(): string | undefined {
    return this.#call.baggage;
  }

  get metadata(): Payload | undefined {
    return this.#call.metadata;
  }

  get payload(): Payload {
    return this.#call.payload;
  }

  mayCall(functionId: string, namespace = DEFAULT_NAMESPACE): boolean {
    return this.#core.router.mayCall(this.#call.caller, functionId, namespace);
  }
}
