import { connect, type CorkedSocket } from '../corked-socket.js';
import {
  callFrame,
  invocationId,
  kindOf,
  readFunctionId,
  readInvocationId,
  registerFunctionFrame,
  registerTriggerFrame,
  resultFrame,
} from '../wire.js';
import { Faults, IN_FLIGHT, settle, SUBSCRIBERS, type Load } from './load.js';

export interface PublishPlan {
  /** `publish` or `iii::durable::publish`. */
  readonly functionId: string;
  /** `subscribe` or `durable:subscriber`. */
  readonly triggerType: string;
  /** JSON text of the message. */
  readonly message: string;
  /** Default `SUBSCRIBERS`, on one socket. */
  readonly subscribers?: number;
  /** A socket for each subscriber. */
  readonly ownSockets?: boolean;
  /** Publishes in flight. Default `IN_FLIGHT`. */
  readonly inFlight?: number;
}

const TOPIC = 'bench.topic';
const PROBE_PAUSE_MS = 50;
const PROBE_DEADLINE_MS = 10_000;
const QUIET_MS = 100;

/**
 * One publisher, and one worker whose ten functions subscribe to the topic (or a thousand workers with
 * one each). A publish is in flight until all its deliveries have arrived; deliveries are counted.
 */
export class PublishLoad implements Load {
  readonly faults = new Faults();
  finished = 0;
  readonly #plan: PublishPlan;
  #publisher: CorkedSocket | undefined;
  readonly #workers: CorkedSocket[] = [];
  readonly #subscribers: number;
  #sequence = 0;
  #answered = 0;
  #running = false;

  private constructor(plan: PublishPlan) {
    this.#plan = plan;
    this.#subscribers = plan.subscribers ?? SUBSCRIBERS;
  }

  static async open(url: string, plan: PublishPlan): Promise<PublishLoad> {
    const load = new PublishLoad(plan);
    for (let i = 0; i < load.#subscribers; i++) {
      if (i === 0 || plan.ownSockets === true)
        load.#workers.push(await connect(url, (frame, from) => load.#onDelivery(frame, from)));
      const functionId = `bench::subscriber-${i}`;
      const worker = load.#workers.at(-1);
      worker?.send(registerFunctionFrame(functionId));
      worker?.send(registerTriggerFrame(`bench-trigger-${i}`, plan.triggerType, functionId, { topic: TOPIC }));
    }
    load.#publisher = await connect(url, (frame) => load.#onAnswer(frame));
    await load.#untilSubscribed();
    return load;
  }

  start(): void {
    this.#running = true;
    for (let i = 0; i < (this.#plan.inFlight ?? IN_FLIGHT); i++) this.#publish();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await settle(
      `${this.#plan.functionId} with ${this.finished} of ${this.#sequence * this.#subscribers} deliveries`,
      () => this.finished >= this.#sequence * this.#subscribers && this.#answered >= this.#sequence,
    );
    if (this.finished > this.#sequence * this.#subscribers) this.faults.add('more deliveries than published');
  }

  async close(): Promise<void> {
    await this.#publisher?.close();
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }

  /** Publishes until one message reaches all ten: a binding is not acknowledged. */
  async #untilSubscribed(): Promise<void> {
    const deadline = performance.now() + PROBE_DEADLINE_MS;
    for (;;) {
      this.finished = 0;
      this.#publish();
      const at = performance.now() + PROBE_PAUSE_MS;
      while (this.finished < this.#subscribers && performance.now() < at) await new Promise((r) => setTimeout(r, 1));
      if (this.finished >= this.#subscribers) break;
      if (performance.now() > deadline)
        throw new Error(`only ${this.finished} of ${this.#subscribers} subscribers get messages`);
    }
    await settle('probes', () => this.#answered >= this.#sequence);
    // Probes that were published before all ten had bound may still be on their way (durable topics).
    for (let seen = -1; seen !== this.finished;) {
      seen = this.finished;
      await new Promise((r) => setTimeout(r, QUIET_MS));
    }
    this.finished = 0;
    this.#answered = 0;
    this.#sequence = 0;
    if (this.faults.count > 0) throw new Error(`publishing fails: ${this.faults.first}`);
  }

  #publish(): void {
    const data = `{"topic":"${TOPIC}","data":${this.#plan.message}}`;
    this.#publisher?.send(callFrame(invocationId(this.#sequence++), this.#plan.functionId, data));
  }

  #onAnswer(frame: string): void {
    if (kindOf(frame) !== 'invocationresult') return;
    this.#answered++;
    if (frame.includes('"error":{')) this.faults.add(frame);
  }

  #onDelivery(frame: string, worker: CorkedSocket): void {
    if (kindOf(frame) === 'other' && frame.includes('"error":{')) this.faults.add(frame);
    if (kindOf(frame) !== 'invokefunction') return;
    const id = readInvocationId(frame);
    if (id !== undefined) worker.send(resultFrame(id, readFunctionId(frame) ?? '', 'null'));
    this.finished++;
    if (this.#running && this.finished % this.#subscribers === 0) this.#publish();
  }
}
