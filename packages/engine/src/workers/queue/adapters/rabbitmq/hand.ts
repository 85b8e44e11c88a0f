/**
 * The deliveries of one line that this engine has and that do not run. A delivery:
 *
 *   (arrives) -> ready | held          held until it is due
 *   held      -> ready                 when due
 *   ready     -> (taken) | parked      parked: its function is absent, and those behind it must not pass
 *   parked    -> ready                 a function appeared
 *   (taken)   -> (gone) | ready | held
 *
 * In a serial line the deliveries of a group are a chain and only its head is in one of these states; the next
 * becomes head when it is gone.
 */
import type { Channel, ConsumeMessage } from 'amqplib';
import type { Clock, Timer } from '../../../../core/clock.js';
import type { Decision, Job } from '../../job.js';
import type { Decoded } from './message.js';

export interface Delivery {
  readonly message: ConsumeMessage;
  readonly channel: Channel;
  readonly job: Job;
  readonly decoded: Decoded;
  /** Steady clock, milliseconds: not before. */
  dueAt: number;
  timer: Timer | undefined;
  /** The server brought it again: how it ended here before. */
  end: Decision | undefined;
}

export class Hand {
  readonly #clock: Clock;
  readonly #ready: () => void;
  #list: Delivery[] = [];
  readonly #chains = new Map<string, Delivery[]>();
  readonly #all = new Set<Delivery>();
  readonly #parked = new Set<Delivery>();
  #held = 0;
  bytes = 0;

  /** @param ready - a delivery can be taken now */
  constructor(clock: Clock, ready: () => void) {
    this.#clock = clock;
    this.#ready = ready;
  }

  /** Everything at hand, what is taken included. */
  get size(): number {
    return this.#all.size;
  }

  get held(): number {
    return this.#held;
  }

  /** Nothing can be taken now or soon. */
  get isStuck(): boolean {
    return this.#parked.size > 0 && this.#list.length === 0 && this.#held === 0;
  }

  /** In order: waits for its function, or stands behind one that does. */
  get parked(): number {
    let parked = 0;
    for (const { job } of this.#parked) parked += this.#chains.get(job.group ?? '')?.length ?? 1;
    return parked;
  }

  add(delivery: Delivery, serial: boolean): void {
    this.#all.add(delivery);
    this.bytes += delivery.job.data.length;
    if (serial) {
      const group = delivery.job.group ?? '';
      const chain = this.#chains.get(group);
      if (chain !== undefined) return void chain.push(delivery);
      this.#chains.set(group, [delivery]);
    }
    this.#offer(delivery, false);
  }

  /** The next that can run. It stays in its chain until it is gone. */
  take(): Delivery | undefined {
    return this.#list.shift();
  }

  /** It was taken and did not run, or is to run again: before all others, `delayMs` later. */
  back(delivery: Delivery, delayMs: number): void {
    delivery.dueAt = delayMs <= 0 ? 0 : this.#clock.monotonic() + delayMs;
    this.#offer(delivery, true);
  }

  /** It was taken and its function is absent: it and those behind it wait. */
  park(delivery: Delivery): void {
    this.#parked.add(delivery);
  }

  /** Tries what was parked again, in order. */
  unpark(): void {
    for (const delivery of [...this.#parked]) {
      this.#parked.delete(delivery);
      this.#offer(delivery, false);
    }
  }

  /** It was acknowledged, or its channel is gone. */
  gone(delivery: Delivery): void {
    if (!this.#all.delete(delivery)) return;
    this.bytes -= delivery.job.data.length;
    if (delivery.timer !== undefined) {
      delivery.timer.cancel();
      this.#held--;
    }
    const group = delivery.job.group ?? '';
    const chain = this.#chains.get(group);
    if (chain?.[0] !== delivery) return;
    chain.shift();
    const next = chain[0];
    if (next === undefined) this.#chains.delete(group);
    else this.#offer(next, false);
  }

  /** Forgets everything. */
  clear(): void {
    for (const delivery of this.#all) delivery.timer?.cancel();
    this.#list = [];
    this.#chains.clear();
    this.#all.clear();
    this.#parked.clear();
    this.#held = 0;
    this.bytes = 0;
  }

  #offer(delivery: Delivery, first: boolean): void {
    const waitMs = delivery.dueAt - this.#clock.monotonic();
    if (waitMs > 0) {
      this.#held++;
      delivery.timer = this.#clock.setTimer(() => {
        delivery.timer = undefined;
        if (!this.#all.has(delivery)) return;
        this.#held--;
        this.#offer(delivery, true);
      }, Math.ceil(waitMs));
      return;
    }
    const priority = delivery.job.extras?.priority ?? 0;
    const isBehind = ({ job }: Delivery): boolean => (job.extras?.priority ?? 0) < priority;
    const at = first ? 0 : this.#list.findIndex(isBehind);
    if (at < 0) this.#list.push(delivery);
    else this.#list.splice(at, 0, delivery);
    this.#ready();
  }
}
