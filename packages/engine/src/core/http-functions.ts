/**
 * Functions that live behind an HTTP address. The worker that registers one owns it: it is counted as
 * that worker's, stands in the owner stack like any other, and leaves with it. Who sends the requests is
 * a built-in worker that may be absent; without it such a registration is refused.
 */
import { ErrorCode, toErrorBody, TrineError, type RegisterFunctionFrame } from '@trine/protocol';
import type { Core } from './core.js';
import type { PendingCall } from './pending-call.js';
import type { FunctionOwner } from './registry.js';
import type { Session } from './session.js';
import type { HttpFunctionHandler, HttpFunctionServer, Registration } from './worker-host.js';

type Run = NonNullable<FunctionOwner['run']>;

export class HttpFunctions {
  readonly #core: Core;
  readonly #runs = new WeakSet<Run>();
  #server: HttpFunctionServer | undefined;

  constructor(core: Core) {
    this.#core = core;
  }

  /** From here on registrations go to `server`. When it leaves, so do the functions that it serves. */
  serve(server: HttpFunctionServer): Registration {
    this.#server = server;
    return {
      remove: () => {
        if (this.#server !== server) return;
        this.#server = undefined;
        this.#withdraw();
      },
    };
  }

  /**
   * What runs the calls of a function behind an HTTP address.
   *
   * @throws TrineError when it is refused, or nobody serves such functions
   */
  register(frame: RegisterFunctionFrame, session: Session): Run {
    if (this.#server === undefined) {
      throw new TrineError(
        ErrorCode.notFound,
        'functions behind an HTTP address need the worker http-functions. Run: iii worker add http-functions, ' +
          'then start this worker again',
      );
    }
    const handler = this.#server.open({
      functionId: frame.id,
      invocation: frame.invocation,
      workerId: session.id,
      worker: session.label,
    });
    // A call gets its id when it is filed, which follows `run` in the same turn.
    const run: Run = (call) => queueMicrotask(() => void this.#run(call, handler));
    this.#runs.add(run);
    return run;
  }

  async #run(call: PendingCall, handler: HttpFunctionHandler): Promise<void> {
    // Its caller gave up in the turn in which it asked.
    if (call.done) return;
    const gone = new AbortController();
    call.onEnd = () => {
      // What nobody ever waited for runs to its end; of a call that timed out a late answer may be of use.
      if (call.isAwaited && call.late === undefined) gone.abort(new Error('nobody waits for the answer any more'));
    };
    try {
      const { payload, traceparent } = call;
      const { signal } = gone;
      const invocationId = call.callerInvocationId ?? this.#core.router.idOf(call);
      const result = await handler({ invocationId, payload, traceparent, signal });
      this.#core.router.complete(call, { ok: true, result });
    } catch (error) {
      if (!(error instanceof TrineError))
        this.#core.log.error('handler failed unexpectedly', { function: call.functionId, error });
      this.#core.router.fail(call, toErrorBody(error), 'handler');
    }
  }

  #withdraw(): void {
    for (const session of this.#core.sessions()) {
      for (const owner of [...session.functions])
        if (owner.run !== undefined && this.#runs.has(owner.run)) this.#core.registry.remove(owner);
    }
  }
}
