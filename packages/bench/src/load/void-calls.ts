import { connect, type CorkedSocket } from '../corked-socket.js';
import { voidFrame } from '../wire.js';
import { Faults, IN_FLIGHT, settle, type Load } from './load.js';

/**
 * Calls nobody waits for. In flight = sent and not yet seen by the worker, which lives in this
 * process; what is counted are arrivals.
 */
export class VoidLoad implements Load {
  readonly faults = new Faults();
  finished = 0;
  readonly #caller: CorkedSocket;
  readonly #frame: string;
  #worker: CorkedSocket | undefined;
  #sent = 0;
  #running = false;

  private constructor(caller: CorkedSocket, frame: string) {
    this.#caller = caller;
    this.#frame = frame;
  }

  /** @param connectWorker - connects the worker, which reports each arrival */
  static async open(
    url: string,
    functionId: string,
    data: string,
    connectWorker: (onCall: () => void) => Promise<CorkedSocket>,
  ): Promise<VoidLoad> {
    const load = new VoidLoad(await connect(url, () => undefined), voidFrame(functionId, data));
    load.#worker = await connectWorker(() => load.#arrived());
    return load;
  }

  /** What arrived before the run (probes) does not count. */
  reset(): void {
    this.finished = 0;
    this.#sent = 0;
  }

  start(): void {
    this.#running = true;
    for (let i = 0; i < IN_FLIGHT; i++) this.#send();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await settle('void calls', () => this.finished >= this.#sent);
    if (this.finished > this.#sent) this.faults.add(`${this.finished} arrivals of ${this.#sent} calls`);
  }

  async close(): Promise<void> {
    await this.#caller.close();
    await this.#worker?.close();
  }

  #send(): void {
    this.#sent++;
    this.#caller.send(this.#frame);
  }

  #arrived(): void {
    this.finished++;
    if (this.#running) this.#send();
  }
}
