/**
 * The core: registry, bindings, router and the table of sessions, with the places where a session
 * changes its state.
 */
import { accessDecision, type AccessDecision } from './access.js';
import type { AccessRules } from './access-rules.js';
import { Bindings } from './bindings.js';
import { Channels } from './channels.js';
import type { Clock, Timer } from './clock.js';
import { Emitter } from './emitter.js';
import { HttpFunctions } from './http-functions.js';
import type { Log } from './log.js';
import type { Random } from './random.js';
import { Registry } from './registry.js';
import { Router, type RouterLimits } from './router.js';
import type { Session, WorkerInfo } from './session.js';
import type { HealthReport } from './worker-host.js';

export interface WorkerEvent {
  readonly kind: 'connected' | 'updated' | 'disconnected';
  readonly session: Session;
}

export interface CoreOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly mayCall?: AccessDecision;
  readonly limits?: Partial<RouterLimits & CoreLimits>;
}

export interface CoreLimits {
  /** How long a client whose socket dropped may take to reattach, in milliseconds. Default 5 s. */
  readonly reattachGraceMs: number;
  /** How long a worker may take to describe itself before its registrations count in full. Default 1 s. */
  readonly provisionalMs: number;
}

/**
 * Grace: the Rust SDK retries after a fixed 2 s, the second try of the others comes at about 3 s.
 * Provisional: SDKs send their description right behind their registrations.
 */
export const defaultCoreLimits: CoreLimits = { reattachGraceMs: 5_000, provisionalMs: 1_000 };

export class Core {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly registry = new Registry();
  readonly bindings: Bindings;
  readonly router: Router;
  readonly channels: Channels;
  readonly httpFunctions = new HttpFunctions(this);
  readonly workers = new Emitter<WorkerEvent>();
  /** What built-in workers say of what they depend on, by the name of the worker. */
  readonly health = new Map<string, () => HealthReport>();
  /** The rules of all listeners that have some. */
  readonly accessRules = new Set<AccessRules>();
  readonly #sessions = new Map<string, Session>();
  readonly #limits: CoreLimits;
  /** One per session that is provisional or detached. */
  readonly #timers = new Map<Session, Timer>();

  constructor(options: CoreOptions) {
    this.clock = options.clock;
    this.random = options.random;
    this.log = options.log;
    this.#limits = { ...defaultCoreLimits, ...options.limits };
    this.channels = new Channels(options.clock, options.random);
    this.bindings = new Bindings(options.log);
    this.router = new Router({
      ...options,
      registry: this.registry,
      mayCall: options.mayCall ?? accessDecision(this.registry),
    });
  }

  session(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  sessions(): IterableIterator<Session> {
    return this.#sessions.values();
  }

  open(session: Session): void {
    this.#sessions.set(session.id, session);
    if (session.provisional)
      this.#setTimer(session, () => this.#settle(session, session.namespace), this.#limits.provisionalMs);
    this.workers.emit({ kind: 'connected', session });
  }

  /**
   * Takes in what a worker says of itself: fields that it leaves out keep their value. Its
   * registrations count in full from here on, and move as one to the namespace it declares.
   */
  describe(session: Session, info: Partial<WorkerInfo>, namespace = session.namespace): void {
    Object.assign(session.info, info);
    this.#settle(session, namespace);
    this.workers.emit({ kind: 'updated', session });
  }

  #settle(session: Session, namespace: string): void {
    if (session.state !== 'open') return;
    session.access?.settle(session, namespace);
    const before = session.namespace;
    if (session.provisional) this.#clearTimer(session);
    session.provisional = false;
    if (namespace !== before) {
      session.namespace = namespace;
      this.registry.rehome(session, before, namespace);
      void this.bindings.rehome(session);
    }
    this.registry.rerank(session);
    session.known();
  }

  /** The socket of a client that can reattach is gone: it has the grace to come back. */
  detach(session: Session): void {
    if (session.state !== 'open') return;
    session.state = 'detached';
    this.registry.rerank(session);
    this.#setTimer(session, () => void this.close(session), this.#limits.reattachGraceMs);
  }

  /** Ends a session: its functions leave, its calls are answered, its triggers, types and channels go. Idempotent. */
  async close(session: Session): Promise<void> {
    if (session.state === 'closed') return;
    session.state = 'closed';
    this.#clearTimer(session);
    for (const owner of [...session.functions]) this.registry.remove(owner);
    this.router.release(session);
    this.channels.release(session);
    const released = this.bindings.release(session);
    this.#sessions.delete(session.id);
    this.workers.emit({ kind: 'disconnected', session });
    await released;
  }

  #setTimer(session: Session, run: () => void, afterMs: number): void {
    this.#clearTimer(session);
    this.#timers.set(
      session,
      this.clock.setTimer(() => {
        this.#timers.delete(session);
        run();
      }, afterMs),
    );
  }

  #clearTimer(session: Session): void {
    this.#timers.get(session)?.cancel();
    this.#timers.delete(session);
  }
}
