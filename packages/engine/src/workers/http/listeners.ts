/** The addresses this worker listens on: one, or both loopback addresses under one port number. */
import { isDeepStrictEqual } from 'node:util';
import type { WorkerHost } from '../../core/worker-host.js';
import type { HttpSettings } from './config.js';
import { isLoopback, moveAddresses, TlsFiles } from '../../listener/index.js';
import { Listener, type ListenerLimits, type Serve } from './listener.js';

/** Time for open requests of a listener that was replaced, in milliseconds. */
const REPLACED_GRACE_MS = 10_000;
type Address = Pick<HttpSettings, 'host' | 'port' | 'tls'>;

export class Listeners {
  readonly #host: WorkerHost;
  readonly #serve: Serve;
  readonly #limits: ListenerLimits;
  #current: readonly Listener[] = [];
  #asked: Address | undefined;
  #tls: TlsFiles | undefined;
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
   * @throws TrineError `port_taken`, `bind_failed`, `tls_unusable`; what was there stays then
   */
  async open(settings: HttpSettings): Promise<void> {
    const asked: Address = { host: settings.host, port: settings.port, tls: settings.tls ?? undefined };
    if (isDeepStrictEqual(this.#asked, asked)) return;
    const before = this.#current;
    const tls = await this.#tlsFor(asked);
    this.#host.log.info(`Initializing API adapter on port ${asked.port}`);
    if (!this.#stays(asked)) {
      const { listening, error } = await moveAddresses({
        before,
        host: asked.host,
        port: asked.port,
        who: this.#host.entryName,
        open: (host, port) => Listener.open(host, port, this.#serve, this.#limits, tls),
        reopen: (host, port) => Listener.open(host, port, this.#serve, this.#limits, this.#tls),
        fits: (listener) => listener.isSecure === (tls !== undefined),
        hostOf: (listener) => listener.host,
        portOf: (listener) => listener.port,
        release: (listener) => {
          listener.release();
          this.#replace(listener);
        },
        close: (listener) => listener.close(),
      });
      this.#current = listening;
      if (error !== undefined) {
        if (tls !== this.#tls) tls?.stop();
        throw error;
      }
    }
    const after = this.#current;
    if (tls !== this.#tls) {
      if (tls !== undefined) for (const listener of after) if (before.includes(listener)) listener.renew(tls);
      this.#tls?.stop();
      this.#tls = tls;
    }
    this.#asked = asked;
    this.#host.reportPort('http', this.port);
    for (const listener of after) {
      if (!before.includes(listener)) this.#host.log.info(`API listening on address: ${listener.address}`);
    }
    for (const listener of before) if (!after.includes(listener) && !listener.closing) this.#replace(listener);
    const exposed = after.find(({ host }) => !isLoopback(host));
    if (exposed !== undefined && settings.middleware.length === 0) {
      this.#host.log.warn(
        'the HTTP port can be reached from other machines and no middleware guards it: set host: 127.0.0.1 to keep it local',
        { address: exposed.address },
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
    this.#tls?.stop();
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

  /** Only the certificate is another one. */
  #stays({ host, port, tls }: Address): boolean {
    const asked = this.#asked;
    return (
      asked !== undefined &&
      asked.host === host &&
      asked.port === port &&
      (asked.tls === undefined) === (tls === undefined)
    );
  }

  /** The certificate that is in use, or another one, which has been read and found right. */
  async #tlsFor({ tls }: Address): Promise<TlsFiles | undefined> {
    if (tls === undefined || tls === null) return undefined;
    if (this.#tls !== undefined && isDeepStrictEqual(this.#asked?.tls, tls)) return this.#tls;
    const { projectDir, entryName: who, clock, log } = this.#host;
    return TlsFiles.open({ settings: tls, projectDir, who, clock, log });
  }
}
