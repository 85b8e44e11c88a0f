import { connect, createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';

interface Pair {
  readonly client: Socket;
  readonly upstream: Socket;
  /** No byte arrives, in either direction. */
  swallowed: boolean;
  /** Requests arrive, answers do not. */
  mute: boolean;
}

/**
 * A TCP proxy that breaks connections as networks do: it cuts the client's side while the server's
 * side stays open, or the other way round, or swallows every byte.
 *
 * @example
 * const proxy = await CuttingProxy.start(enginePort);
 * const worker = registerWorker(`ws://127.0.0.1:${proxy.port}`);
 * proxy.cut({ holdMs: 2_000 }); // the worker sees its socket die, the engine does not for two seconds
 */
export class CuttingProxy {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #muteAt: Buffer | undefined;
  #holdAt: Buffer | undefined;
  #held: { readonly upstream: Socket; readonly chunk: Buffer } | undefined;
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Connections made so far. */
  connections = 0;
  /** New connections end at once: the network is down. */
  refusing = false;

  private constructor(server: Server) {
    this.#server = server;
  }

  /**
   * @param targetPort - a port of the loopback interface
   * @param port - where it listens itself; default: a free port
   */
  static async start(targetPort: number, port = 0): Promise<CuttingProxy> {
    const server = createServer({ noDelay: true });
    const proxy = new CuttingProxy(server);
    server.on('connection', (client) => {
      if (proxy.refusing) client.destroy();
      else proxy.#join(client, targetPort);
    });
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Live connections. */
  get live(): number {
    return this.#pairs.size;
  }

  /**
   * Cuts every connection of this moment.
   *
   * @param options.side - which side dies at once (default `client`)
   * @param options.holdMs - how long the other side stays open, in milliseconds (default 0)
   */
  cut({ side = 'client', holdMs = 0 }: { readonly side?: 'client' | 'upstream'; readonly holdMs?: number } = {}): void {
    for (const pair of [...this.#pairs]) {
      this.#pairs.delete(pair);
      const [now, later] = side === 'client' ? [pair.client, pair.upstream] : [pair.upstream, pair.client];
      pair.swallowed = true;
      now.destroy();
      if (later === this.#held?.upstream) continue;
      if (holdMs <= 0) later.destroy();
      else this.#after(holdMs, () => later.destroy());
    }
  }

  /** From now on no byte of the connections of this moment arrives, and nobody is told. */
  blackhole(): void {
    for (const pair of this.#pairs) pair.swallowed = true;
  }

  /**
   * The next request that contains these bytes arrives, and no answer of its connection does any more:
   * the server has done what the client never hears of. Once; `isMute` tells when.
   */
  muteAt(text: string): void {
    this.#muteAt = Buffer.from(text);
  }

  /**
   * The next request that contains these bytes stays on its way, and its connection's answers do not arrive:
   * `deliver` lets it arrive, also when the client has gone meanwhile. Once; `isHolding` tells when.
   */
  holdAt(text: string): void {
    this.#holdAt = Buffer.from(text);
  }

  get isHolding(): boolean {
    return this.#held !== undefined;
  }

  /** What was held arrives, and its connection ends. Resolves when the server has closed it. */
  async deliver(): Promise<void> {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    const closed = new Promise((resolve) => held.upstream.once('close', resolve));
    held.upstream.resume();
    held.upstream.end(held.chunk);
    await closed;
  }

  /** Is there a connection whose answers are swallowed? */
  get isMute(): boolean {
    return [...this.#pairs].some(({ mute }) => mute);
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#held?.upstream.destroy();
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #join(client: Socket, targetPort: number): void {
    this.connections++;
    const upstream = connect({ host: '127.0.0.1', port: targetPort, noDelay: true });
    const pair: Pair = { client, upstream, swallowed: false, mute: false };
    this.#pairs.add(pair);
    const pass = (from: Socket, to: Socket): void => {
      from.on('data', (chunk: Buffer) => {
        if (from === client && this.#muteAt !== undefined && chunk.includes(this.#muteAt)) {
          pair.mute = true;
          this.#muteAt = undefined;
        }
        if (from === client && this.#holdAt !== undefined && chunk.includes(this.#holdAt)) {
          pair.swallowed = true;
          this.#holdAt = undefined;
          this.#held = { upstream, chunk };
        }
        if (pair.swallowed || (pair.mute && from === upstream) || to.destroyed) return;
        if (!to.write(chunk)) from.pause();
      });
      to.on('drain', () => from.resume());
      from.on('error', () => undefined);
      from.on('close', () => {
        if (!this.#pairs.delete(pair)) return;
        if (this.#held?.upstream !== to) to.destroySoon();
      });
    };
    pass(client, upstream);
    pass(upstream, client);
  }

  #after(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, ms);
    this.#timers.add(timer);
  }
}
