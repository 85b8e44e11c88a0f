/** The addresses this worker listens on: one, or both loopback addresses under one port number. */
import type { WorkerHost } from '../../core/worker-host.js';
import type { HttpSettings } from './config.js';
import { isLoopback, moveAddresses } from '../../listener/index.js';
import { Listener, type ListenerLimits, type Serve } from './listener.js';

/** Time for open requests of a listener that was replaced, in milliseconds. */
const REPLACED_GRACE_MS = 10_000;
type Address = Pick<HttpSettings, 'host' | 'port'>;

export class Listeners {
  readonly #host: WorkerHost;
  readonly #serve: Serve;
  readonly #limits: ListenerLimits;
  #current: readonly Listener[] = [];
  #asked: Address | undefined;
  /** Replaced ones that still have connections. */
  readonly #closing = new Set<Listener>();

  constructor(host: WorkerHost, serve: Serve, limits: ListenerLimits = {}) {
    this.#host = host;
    this.#serve = serve;
    this.#limits = limits;
  }

  get port(): number {
    return this.#current[0]?.port ?? 0;
  }

  /**
   * Listens on the address of the settings; where it listened before is closed afterwards. What both
   * have in common stays open.
   *
   * @throws TrineError `port_taken`, `bind_failed`; the old addresses stay then
   */
  async open(address: Address): Promise<void> {
    const asked = this.#asked;
    if (asked !== undefined && asked.host === address.host && asked.port === address.port) return;
    const before = this.#current;
    this.#host.log.info(`Initializing API adapter on port ${address.port}`);
    const { listening: after, error } = await moveAddresses({
      before,
      host: address.host,
      port: address.port,
      who: this.#host.entryName,
      open: (host, port) => Listener.open(host, port, this.#serve, this.#limits),
      hostOf: (listener) => listener.host,
      portOf: (listener) => listener.port,
      release: (listener) => {
        listener.release();
        this.#replace(listener);
      },
      close: (listener) => listener.close(),
    });
    this.#current = after;
    if (error !== undefined) throw error;
    this.#asked = { host: address.host, port: address.port };
    this.#host.reportPort('http', this.port);
    for (const listener of after) {
      if (!before.includes(listener)) this.#host.log.info(`API listening on address: ${listener.address}`);
    }
    for (const listener of before) if (!after.includes(listener)) this.#replace(listener);
    const exposed = after.find(({ host }) => !isLoopback(host));
    if (exposed !== undefined) {
      this.#host.log.warn(
        'the HTTP port can be reached from other machines and has no access rules: set host: 127.0.0.1 to keep it local',
        {
          address: exposed.address,
        },
      );
    }
  }

  /** Where it listens, for messages. */
  get addresses(): string {
    return this.#current.map(({ address }) => address).join(', ');
  }

  /** Stops accepting; idle connections end. */
  close(): void {
    for (const listener of this.#all()) void listener.close();
  }

  /**
   * Ends everything.
   *
   * @param served - settles when no request is open
   * @param graceMs - milliseconds that open requests get
   */
  async stop(served: Promise<void>, graceMs: number): Promise<void> {
    const all = this.#all();
    const closed = Promise.all(all.map((listener) => listener.close()));
    void served.then(() => all.forEach((listener) => listener.endConnections()));
    const timer = this.#host.clock.setTimer(() => all.forEach((listener) => listener.destroyConnections()), graceMs);
    await closed;
    timer.cancel();
  }

  #all(): readonly Listener[] {
    return [...this.#current, ...this.#closing];
  }

  #replace(listener: Listener): void {
    if (this.#closing.has(listener)) return;
    this.#closing.add(listener);
    const timer = this.#host.clock.setTimer(() => listener.destroyConnections(), REPLACED_GRACE_MS);
    void listener.close().then(() => {
      timer.cancel();
      this.#closing.delete(listener);
    });
  }
}
