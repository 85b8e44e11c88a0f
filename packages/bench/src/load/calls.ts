/**
 * Calls with an answer: the caller keeps `IN_FLIGHT` of them open and matches each answer to its
 * call, exactly once. The functions they reach are the target's own, or the worker's below.
 */
import { connect, type CorkedSocket } from '../corked-socket.js';
import { callFrame, invocationId, kindOf, readInvocationId, sequenceOf } from '../wire.js';
import { Faults, IN_FLIGHT, settle, type Load } from './load.js';

export interface CallPlan {
  readonly functionId: string;
  /** The JSON text of the n-th call's data. */
  readonly data: (sequence: number) => string;
  /** JSON text of the `action` member, for calls that name one. */
  readonly action?: string;
  /** Calls kept in flight. Default `IN_FLIGHT`; with 1 the time of each call is kept. */
  readonly inFlight?: number;
}

export class CallLoad implements Load {
  readonly faults = new Faults();
  finished = 0;
  readonly latenciesMicros: number[] = [];
  #sentAt = 0;
  #socket: CorkedSocket | undefined;
  readonly #plan: CallPlan;
  readonly #closers: readonly CorkedSocket[];
  readonly #open = new Set<number>();
  #sequence = 0;
  #running = false;

  private constructor(plan: CallPlan, closers: readonly CorkedSocket[]) {
    this.#plan = plan;
    this.#closers = closers;
  }

  /** @param others - sockets that belong to this load and close with it */
  static async open(url: string, plan: CallPlan, others: readonly CorkedSocket[] = []): Promise<CallLoad> {
    const load = new CallLoad(plan, others);
    load.#socket = await connect(url, (frame) => load.#onFrame(frame));
    return load;
  }

  start(): void {
    this.#running = true;
    for (let i = 0; i < (this.#plan.inFlight ?? IN_FLIGHT); i++) this.#send();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await settle(`${this.#open.size} calls of ${this.#plan.functionId}`, () => this.#open.size === 0);
  }

  async close(): Promise<void> {
    await this.#socket?.close();
    for (const socket of this.#closers) await socket.close();
  }

  /** Makes calls until each of `count` has been answered once: for what must exist before the run. */
  async prepare(count: number): Promise<void> {
    for (let i = 0; i < count; i++) this.#send();
    await this.stop();
  }

  #send(): void {
    const sequence = this.#sequence++;
    this.#open.add(sequence);
    if (this.#plan.inFlight === 1) this.#sentAt = performance.now();
    const { functionId, data, action } = this.#plan;
    this.#socket?.send(callFrame(invocationId(sequence), functionId, data(sequence), action));
  }

  #onFrame(frame: string): void {
    if (kindOf(frame) !== 'invocationresult') return;
    if (!this.#open.delete(sequenceOf(readInvocationId(frame) ?? ''))) this.faults.add(`unexpected answer: ${frame}`);
    if (frame.includes('"error":{')) this.faults.add(frame);
    this.finished++;
    if (this.#plan.inFlight === 1) this.latenciesMicros.push((performance.now() - this.#sentAt) * 1_000);
    if (this.#running) this.#send();
  }
}
