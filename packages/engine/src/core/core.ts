/**
 * The core: registry, bindings, router and the table of sessions, with the one place where a
 * session ends.
 */
import { allowAll, type AccessDecision } from './access.js';
import { Bindings } from './bindings.js';
import type { Clock } from './clock.js';
import { Emitter } from './emitter.js';
import type { Log } from './log.js';
import type { Random } from './random.js';
import { Registry } from './registry.js';
import { Router, type RouterLimits } from './router.js';
import type { Session, WorkerInfo } from './session.js';

export interface WorkerEvent {
  readonly kind: 'connected' | 'updated' | 'disconnected';
  readonly session: Session;
}

export interface CoreOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly mayCall?: AccessDecision;
  readonly limits?: Partial<RouterLimits>;
}

export class Core {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly registry = new Registry();
  readonly bindings: Bindings;
  readonly router: Router;
  readonly workers = new Emitter<WorkerEvent>();
  readonly #sessions = new Map<string, Session>();

  constructor(options: CoreOptions) {
    this.clock = options.clock;
    this.random = options.random;
    this.log = options.log;
    this.bindings = new Bindings(options.log);
    this.router = new Router({ ...options, registry: this.registry, mayCall: options.mayCall ?? allowAll });
  }

  session(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  sessions(): IterableIterator<Session> {
    return this.#sessions.values();
  }

  open(session: Session): void {
    this.#sessions.set(session.id, session);
    this.workers.emit({ kind: 'connected', session });
  }

  /** Takes in what a worker says of itself. Fields that it leaves out keep their value. */
  describe(session: Session, info: Partial<WorkerInfo>): void {
    Object.assign(session.info, info);
    this.workers.emit({ kind: 'updated', session });
  }

  /** Ends a session: its functions leave, its calls are answered, its triggers and types go. Idempotent. */
  async close(session: Session): Promise<void> {
    if (session.state === 'closed') return;
    session.state = 'closed';
    for (const owner of [...session.functions]) this.registry.remove(owner);
    this.router.release(session);
    const released = this.bindings.release(session);
    this.#sessions.delete(session.id);
    this.workers.emit({ kind: 'disconnected', session });
    await released;
  }
}
