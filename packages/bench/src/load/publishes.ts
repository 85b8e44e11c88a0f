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
}

const TOPIC = 'bench.topic';
const PROBE_PAUSE_MS = 50;
const PROBE_DEADLINE_MS = 10_000;
const QUIET_MS = 100;

/**
 * One publisher, and one worker whose ten functions subscribe to the topic. A publish is in flight
 * until all its deliveries have arrived; deliveries are counted.
 */
export class PublishLoad implements Load {
  readonly faults = new Faults();
  finished = 0;
  readonly #plan: PublishPlan;
  #publisher: CorkedSocket | undefined;
  #worker: CorkedSocket | undefined;
  #sequence = 0;
  #answered = 0;
  #running = false;

  private constructor(plan: PublishPlan) {
    this.#plan = plan;
  }

  static async open(url: string, plan: PublishPlan): Promise<PublishLoad> {
    const load = new PublishLoad(plan);
    load.#worker = await connect(url, (frame, from) => load.#onDelivery(frame, from));
    for (let i = 0; i < SUBSCRIBERS; i++) {
      const functionId = `bench::subscriber-${i}`;
      load.#worker.send(registerFunctionFrame(functionId));
      load.#worker.send(registerTriggerFrame(`bench-trigger-${i}`, plan.triggerType, functionId, { topic: TOPIC }));
    }
    load.#publisher = await connect(url, (frame) => load.#onAnswer(frame));
    await load.#untilSubscribed();
    return load;
  }

  start(): void {
    this.#running = true;
    for (let i = 0; i < IN_FLIGHT; i++) this.#publish();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await settle(
      `${this.#plan.functionId} with ${this.finished} of ${this.#sequence * SUBSCRIBERS} deliveries`,
      () => this.finished >= this.#sequence * SUBSCRIBERS && this.#answered >= this.#sequence,
    );
    if (this.finished > this.#sequence * SUBSCRIBERS) this.faults.add('more deliveries than published');
  }

  async close(): Promise<void> {
    await this.#publisher?.close();
    await this.#worker?.close();
  }

  /** Publishes until one message reaches all ten: a binding is not acknowledged. */
  async #untilSubscribed(): Promise<void> {
    const deadline = performance.now() + PROBE_DEADLINE_MS;
    for (;;) {
      this.finished = 0;
      this.#publish();
      const at = performance.now() + PROBE_PAUSE_MS;
      while (this.finished < SUBSCRIBERS && performance.now() < at) await new Promise((r) => setTimeout(r, 1));
      if (this.finished >= SUBSCRIBERS) break;
      if (performance.now() > deadline)
        throw new Error(`only ${this.finished} of ${SUBSCRIBERS} subscribers get messages`);
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
    if (this.#running && this.finished % SUBSCRIBERS === 0) this.#publish();
  }
}
