/**
 * Whole lives of jobs: enqueued, acknowledged, run, ended. `IN_FLIGHT` of them are between their
 * enqueue and their handler's start at any time; each must be acknowledged once and run once.
 */
import { connect, type CorkedSocket } from '../corked-socket.js';
import { callFrame, invocationId, kindOf, readInvocationId } from '../wire.js';
import { connectEchoWorker } from './echo-worker.js';
import { Faults, IN_FLIGHT, settle, type Load } from './load.js';

const ENQUEUE = '{"type":"enqueue","queue":"bench"}';
export const JOB = 'bench::job';

export class JobLoad implements Load {
  readonly faults = new Faults();
  /** Jobs run. */
  finished = 0;
  #socket: CorkedSocket | undefined;
  #worker: CorkedSocket | undefined;
  readonly #payload: string;
  #sent = 0;
  #acknowledged = 0;
  #running = false;

  private constructor(payload: string) {
    this.#payload = payload;
  }

  static async open(url: string, payload: string): Promise<JobLoad> {
    const load = new JobLoad(payload);
    load.#worker = await connectEchoWorker(url, [JOB], 'null', () => load.#ran());
    load.#socket = await connect(url, (frame) => load.#onFrame(frame));
    return load;
  }

  start(): void {
    this.#running = true;
    for (let i = 0; i < IN_FLIGHT; i++) this.#send();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await settle('jobs', () => this.finished >= this.#sent && this.#acknowledged >= this.#sent);
    if (this.finished > this.#sent) this.faults.add(`${this.finished} runs of ${this.#sent} jobs`);
  }

  async close(): Promise<void> {
    await this.#socket?.close();
    await this.#worker?.close();
  }

  #send(): void {
    this.#socket?.send(callFrame(invocationId(this.#sent++), JOB, this.#payload, ENQUEUE));
  }

  #ran(): void {
    this.finished++;
    if (this.#running) this.#send();
  }

  #onFrame(frame: string): void {
    if (kindOf(frame) !== 'invocationresult') return;
    this.#acknowledged++;
    if (frame.includes('"error":{')) this.faults.add(`${readInvocationId(frame) ?? ''}: ${frame}`);
  }
}
