/**
 * One seeded run: a scheduler chooses, step by step, which of all that is pending happens next, lets the
 * engine crash and start again, and in the end lets everything come to rest.
 */
import type { Store } from '../../../core/store.js';
import { bounds } from '../adapters/builtin/bounds.js';
import { Chance } from './chance.js';
import { Client } from './client.js';
import type { SimDatabase } from './database.js';
import { Disk, type CommitFault } from './disk.js';
import type { Fate } from './fate.js';
import { Ledger, Violation } from './ledger.js';
import { Process } from './process.js';
import { configOf, durabilityOf, makeSetup, type Setup } from './setup.js';
import { settle, Time } from './time.js';

/** What a planted bug changes. */
export interface Sabotage {
  /** Stands between the engine and its storage. */
  store?(store: Store, chance: Chance): Store;
}

/** Share of runs in which commits end in a way that leaves open what the disk kept, until the file is open again. */
const UNSURE_SHARE = 0.3;
/** Share of such commits in these runs. */
const UNSURE_COMMITS = 0.15;
/** Rounds of questions and answers that nothing but the store holds up. */
const MAX_FLUSH_ROUNDS = 5_000;
/** Rounds in which everything must have come to rest. */
const MAX_REST_ROUNDS = 2_000;
/** Longest wait that clients see pass at once, in milliseconds. */
const MAX_PASS_MS = 8_000;
const MAX_JUMP_MS = 3_600_000;
const DOWN_MS = 10_000;

export interface Databases {
  readonly main: SimDatabase;
  readonly volatile: SimDatabase;
}

const USUAL_BOUNDS = { ...bounds };

/** So small that few jobs meet each of them. */
function smallBounds(chance: Chance): typeof bounds {
  return {
    heldJobs: chance.between(1, 4),
    pageJobs: chance.between(1, 4),
    pageJobsSerial: chance.between(1, 2),
    keptDelayed: chance.between(0, 2),
    heldDelayed: chance.between(1, 4),
    uncommittedEnds: chance.between(1, 4),
    chunkJobs: chance.between(1, 3),
  };
}

type Choice = readonly [weight: number, act: () => void | Promise<void>];

export class Scenario {
  readonly #chance: Chance;
  readonly #time = new Time();
  readonly #setup: Setup;
  readonly #ledger: Ledger;
  readonly #client: Client;
  readonly #databases: Databases;
  readonly #sabotage: Sabotage;
  readonly #faults: boolean;
  readonly #unsureFaults: boolean;
  readonly #jumps: boolean;
  readonly #purges: boolean;
  readonly #trace: string[] | undefined;
  #process!: Process;
  /** The disk failed at the start: whoever looks after the engine starts it again. */
  #hasFailedToStart = false;

  constructor(seed: number, databases: Databases, sabotage: Sabotage = {}, trace?: string[]) {
    this.#chance = new Chance(seed);
    this.#databases = databases;
    this.#sabotage = sabotage;
    this.#trace = trace;
    this.#setup = makeSetup(this.#chance);
    this.#ledger = new Ledger(this.#setup, this.#time);
    this.#client = new Client(this.#ledger, this.#chance, this.#setup, this.#time);
    if (trace !== undefined) this.#client.note = (text) => this.#note(text);
    this.#faults = this.#chance.is(0.3);
    this.#unsureFaults = this.#chance.is(UNSURE_SHARE);
    this.#jumps = this.#chance.is(0.15);
    this.#purges = this.#chance.is(0.1);
    Object.assign(bounds, this.#chance.is(0.6) ? smallBounds(this.#chance) : USUAL_BOUNDS);
    databases.main.clear();
    databases.volatile.clear();
  }

  /** @throws Violation what was promised and not kept */
  async run(steps: number): Promise<void> {
    this.#boot();
    for (let step = 0; step < steps; step++) {
      const act = this.#chance.weigh(this.#choices());
      await act?.();
      await settle();
      this.#check();
      if (this.#hasFailedToStart) this.#crash(false);
    }
    await this.#rest();
    const dead = await this.#deadLetters();
    this.#ledger.checkEnd(dead);
    const kept = [...dead.keys()].filter((receipt) => !this.#isVolatile(receipt)).length;
    // Nothing may come back to life.
    this.#ledger.isOver = true;
    this.#crash(false);
    await this.#rest();
    const again = await this.#deadLetters();
    if (again.size !== kept) throw new Violation(`${kept} dead letters became ${again.size} in a restart`);
  }

  #boot(): void {
    this.#ledger.life++;
    this.#ledger.bootJumps = this.#time.jumps;
    this.#hasFailedToStart = false;
    const { main, volatile } = this.#databases;
    const disk = new Disk(main, volatile, (store) => this.#sabotage.store?.(store, this.#chance) ?? store);
    this.#process = new Process(this.#time, disk, this.#chance, this.#witness);
    this.#client.process = this.#process;
    const booted = this.#process;
    booted.start(configOf(this.#setup)).catch((error: unknown) => {
      if (!booted.isAlive) return;
      if (!this.#faults && !this.#unsureFaults) this.#client.violation ??= error;
      this.#hasFailedToStart = true;
    });
    this.#note('boot');
  }

  readonly #witness = {
    started: (...args: Parameters<Ledger['started']>): void =>
      this.#guarded('start', args[0], () => this.#ledger.started(...args)),
    ended: (...args: Parameters<Ledger['ended']>): void =>
      this.#guarded(args[1], args[0], () => this.#ledger.ended(...args)),
    late: (...args: Parameters<Ledger['late']>): void =>
      this.#guarded('late', args[0], () => this.#ledger.late(...args)),
  };

  /** A violation must not travel through the engine, which would take it for a fault of its own. */
  #guarded(what: string, execution: Parameters<Ledger['started']>[0], run: () => void): void {
    this.#note(`${what} ${execution.data} ${execution.told.receipt} attempt ${execution.told.attempt}`);
    try {
      run();
    } catch (error) {
      this.#client.violation ??= error;
    }
  }

  #note(text: string): void {
    this.#trace?.push(`${this.#time.elapsedMs} ${text}`);
  }

  #check(): void {
    if (this.#client.violation !== undefined) throw this.#client.violation as Error;
    const [error] = this.#process.errors;
    if (error === undefined) return;
    if (!(this.#faults || this.#unsureFaults) || !/trying again|could not be/.test(error))
      throw new Violation(`the log says: ${error}`);
    this.#process.errors.length = 0;
  }

  #choices(): Choice[] {
    const { disk, router, isReady, isDraining } = this.#process;
    const choices: Choice[] = [
      [disk.waiting > 0 ? 8 : 0, () => this.#commit()],
      [disk.unanswered > 0 ? 8 : 0, () => this.#do('answer', () => disk.answer())],
      [disk.asked > 0 ? 6 : 0, () => this.#do('look', () => disk.look())],
      [disk.untold > 0 ? 6 : 0, () => this.#do('tell', () => disk.tell())],
      [disk.isDegraded ? 8 : 0, () => this.#do('reopen', () => disk.reopen())],
      [3, () => this.#pass()],
      [
        this.#jumps ? 0.2 : 0,
        () => this.#do('jump', () => this.#time.jump(this.#chance.between(-MAX_JUMP_MS, MAX_JUMP_MS))),
      ],
      [0.35, () => this.#crash(this.#chance.is(0.5))],
    ];
    if (!isReady) return choices;
    const executions = [...router.executions];
    const some = executions.length > 0;
    const slowness = this.#unsureFaults ? 4 : 1;
    const each = (): (typeof executions)[number] => this.#chance.pick(executions);
    choices.push(
      // Where the file fails jobs take longer, so that some run while it is opened again.
      [some ? 5 / slowness : 0, () => router.answer(each())],
      [some ? 3 / slowness : 0, () => router.fail(each())],
      [some ? 0.3 : 0, () => router.refuse(each())],
      [some ? 0.5 : 0, () => router.lose(each())],
      [3, () => this.#appear()],
      [0.6, () => this.#vanish()],
      [isDraining ? 2 : 0.15, () => (isDraining ? this.#stop() : this.#do('drain', () => this.#process.drain()))],
      ...this.#clientChoices(),
    );
    return choices;
  }

  #clientChoices(): Choice[] {
    const client = this.#client;
    const { queues, subscriptions, replayRetentionMs } = this.#setup;
    const fates = [...this.#ledger.fates.values()];
    const fate = (): Fate => this.#chance.pick(fates);
    const running = fates.filter((each) => each.running !== undefined && each.running.state === 'running');
    const runningOne = (): Fate => this.#chance.pick(running);
    const dead = fates.filter(({ exhausted }) => exhausted !== undefined);
    const deadOne = (): Fate => this.#chance.pick(dead);
    const place = (): string =>
      this.#chance.pick([...queues.map(({ name }) => name), ...subscriptions.map(({ topic }) => topic)]);
    const has = (list: readonly unknown[], weight: number): number => (list.length > 0 ? weight : 0);
    const turning = queues.find((queue) => queue.turning);
    const subscription = (): (typeof subscriptions)[number] => this.#chance.pick(subscriptions);
    return [
      [6, () => this.#do('enqueue', () => client.enqueue())],
      [1, () => this.#do('enqueue batch', () => client.enqueueBatch())],
      [has(subscriptions, 2), () => this.#do('publish', () => client.publish())],
      [has(subscriptions, 1), () => this.#do('subscribe', () => client.subscribe(subscription()))],
      [
        has(subscriptions, 0.3),
        () =>
          this.#do('leave', () =>
            client.unsubscribe(subscription(), this.#chance.is(0.8) ? 'disconnected' : 'unregistered'),
          ),
      ],
      [
        has(subscriptions, replayRetentionMs > 0 ? 0.3 : 0),
        () => this.#do('replay', () => client.replay(subscription())),
      ],
      [0.4, () => this.#do('pause', () => client.pause(place(), true))],
      [0.8, () => this.#do('resume', () => client.pause(place(), false))],
      [has(fates, 1.5), () => this.#do('look up', () => client.lookUp(fate()))],
      [has(fates, 0.5), () => this.#do('cancel', () => client.cancel(fate()))],
      [
        has(running, 0.3),
        () => this.#do('reject', () => client.reject(runningOne(), this.#chance.pick([undefined, 0, 1_000]))),
      ],
      [has(running, 0.3), () => this.#do('heartbeat', () => client.heartbeat(runningOne()))],
      [has(dead, 0.8), () => this.#do('redrive', () => client.redrive(place()))],
      [has(dead, 0.4), () => this.#do('redrive one', () => client.deadLetter(deadOne(), 'redrive_message'))],
      [has(dead, 0.2), () => this.#do('edit one', () => client.deadLetter(deadOne(), 'edit_message'))],
      [has(dead, 0.1), () => this.#do('discard one', () => client.deadLetter(deadOne(), 'discard_message'))],
      [
        this.#purges ? 0.3 : 0,
        () => this.#do('purge', () => client.purge(place(), this.#chance.pick(['waiting', 'delayed', 'dead']))),
      ],
      [0.3, () => this.#do('look at', () => client.look(place()))],
      [turning === undefined ? 0 : 0.3, () => this.#turn()],
    ];
  }

  #do(what: string, act: () => void): void {
    this.#note(what);
    act();
  }

  #commit(): void {
    const { disk } = this.#process;
    const count = this.#chance.is(0.5) ? disk.waiting : this.#chance.between(1, disk.waiting);
    let fault: CommitFault | undefined;
    if (this.#faults && this.#chance.is(0.1)) fault = 'refused';
    else if (this.#unsureFaults && this.#chance.is(UNSURE_COMMITS))
      fault = this.#chance.pick(['unknown-kept', 'unknown-lost']);
    this.#note(`commit ${count} of ${disk.waiting} ${fault ?? ''}`);
    disk.commit(count, fault);
  }

  async #pass(): Promise<void> {
    const ms = this.#chance.is(0.3) ? (this.#nextTimerMs() ?? 0) : this.#chance.between(0, MAX_PASS_MS);
    this.#note(`pass ${ms}`);
    await this.#time.pass(ms, this.#process.clock, settle);
  }

  #nextTimerMs(): number | undefined {
    const next = this.#process.clock.next;
    return next === undefined ? undefined : Math.max(0, next.at - this.#time.elapsedMs);
  }

  #appear(): void {
    const all = [...this.#setup.functions, ...this.#setup.subscriptions.map(({ functionId }) => functionId)];
    const absent = all.filter((functionId) => !this.#process.router.has(functionId));
    if (absent.length === 0) return;
    const functionId = this.#chance.pick(absent);
    this.#note(`${functionId} appears`);
    this.#process.router.appear(functionId);
  }

  #vanish(): void {
    const all = [...this.#setup.functions, ...this.#setup.subscriptions.map(({ functionId }) => functionId)];
    const functionId = this.#chance.pick(all);
    this.#note(`${functionId} vanishes`);
    this.#process.router.vanish(functionId, this.#chance.is(0.5));
  }

  #turn(): void {
    const queue = this.#setup.queues.find(({ turning }) => turning);
    // The engine applies one change after the other.
    if (queue === undefined || this.#process.isReconfiguring) return;
    queue.type = queue.type === 'fifo' ? 'standard' : 'fifo';
    this.#note(`${queue.name} becomes ${queue.type}`);
    const process = this.#process;
    process.isReconfiguring = true;
    process
      .reconfigure(configOf(this.#setup))
      .catch(() => undefined)
      .finally(() => (process.isReconfiguring = false));
  }

  #crash(powerCut: boolean): void {
    this.#note(powerCut ? 'the power is cut' : 'the engine is killed');
    const { disk } = this.#process;
    // What the disk had begun may have ended, though nobody will hear of it.
    if (disk.waiting > 0 && this.#chance.is(0.5)) disk.commit(this.#chance.between(1, disk.waiting));
    this.#process.die(powerCut);
    this.#restart(powerCut);
  }

  async #stop(): Promise<void> {
    this.#note('the engine stops');
    const stopped = this.#process.stop();
    await settle();
    await stopped;
    this.#restart(false);
  }

  #restart(powerCut: boolean): void {
    this.#ledger.crashed(powerCut);
    this.#client.crashed();
    this.#time.elapsedMs += this.#chance.between(0, DOWN_MS);
    this.#boot();
  }

  /** Everything is there, nothing fails: all must end. */
  async #rest(): Promise<void> {
    this.#note('rest');
    if (this.#process.isDraining) await this.#stop();
    const { queues, subscriptions, functions } = this.#setup;
    const places = [...queues.map(({ name }) => name), ...new Set(subscriptions.map(({ topic }) => topic))];
    let isOpen = false;
    for (let round = 0; round < MAX_REST_ROUNDS; round++) {
      await this.#flush();
      if (this.#hasFailedToStart) this.#crash(false);
      const { isReady, router } = this.#process;
      if (isReady && !isOpen) {
        isOpen = true;
        for (const functionId of [...functions, ...subscriptions.map(({ functionId: own }) => own)])
          router.appear(functionId);
        for (const subscription of subscriptions) this.#client.subscribe(subscription);
        await this.#flush();
        for (const place of places) this.#client.pause(place, false);
        continue;
      }
      for (const execution of router.executions) router.answer(execution);
      await this.#flush();
      if (isReady && round % 4 === 0 && this.#process.isHealthy && (await this.#isEmpty(places))) return;
      await this.#time.pass(Math.max(this.#nextTimerMs() ?? 0, 1), this.#process.clock, settle);
      this.#check();
    }
    throw new Violation(`I1: something never ends: ${JSON.stringify(await this.#stats(places))}`);
  }

  /** Lets the disk do all that it is asked for. */
  async #flush(): Promise<void> {
    await settle();
    const { disk } = this.#process;
    if (disk.isDegraded) disk.reopen();
    for (let round = 0; !disk.isQuiet; round++) {
      if (round > MAX_FLUSH_ROUNDS) throw new Violation(`the engine asks the store for ever: ${disk.lastAsked}`);
      if (disk.waiting > 0) disk.commit(disk.waiting);
      while (disk.unanswered > 0) disk.answer();
      while (disk.asked > 0) disk.look();
      while (disk.untold > 0) disk.tell();
      await settle();
    }
    this.#check();
  }

  async #stats(places: readonly string[]): Promise<Record<string, { depth: number; delayed: number; held: number }>> {
    const all: Record<string, { depth: number; delayed: number; held: number }> = {};
    for (const place of places) all[place] = (await this.#ask('engine::queue::topic_stats', { topic: place })) as never;
    return all;
  }

  async #isEmpty(places: readonly string[]): Promise<boolean> {
    for (const { depth, delayed, held } of Object.values(await this.#stats(places))) {
      if (depth < 0 || delayed < 0) throw new Violation(`a count is negative: ${depth}, ${delayed}`);
      if (depth + delayed + held > 0) return false;
    }
    return true;
  }

  async #ask(functionId: string, input: unknown): Promise<unknown> {
    const answer = this.#process.call(functionId, input);
    answer.catch(() => undefined);
    await this.#flush();
    return answer;
  }

  /** Is it a receipt of a queue or topic that is in memory only? */
  #isVolatile(receipt: string): boolean {
    const fate = this.#ledger.fates.get(receipt);
    return fate !== undefined && durabilityOf(this.#setup, fate.sent.place) === 'memory';
  }

  /** Receipts and attempts of all dead letters. */
  async #deadLetters(): Promise<Map<string, number>> {
    const dead = new Map<string, number>();
    const { queues, subscriptions } = this.#setup;
    for (const place of [...queues.map(({ name }) => name), ...new Set(subscriptions.map(({ topic }) => topic))]) {
      const letters = (await this.#ask('engine::queue::dlq_messages', { topic: place, limit: 1_000 })) as {
        message_receipt_id: string;
        retries: number;
      }[];
      const { dlq_depth: depth } = (await this.#ask('engine::queue::topic_stats', { topic: place })) as {
        dlq_depth: number;
      };
      if (depth !== letters.length)
        throw new Violation(`'${place}' counts ${depth} dead letters and has ${letters.length}`);
      for (const letter of letters) {
        if (dead.has(letter.message_receipt_id)) throw new Violation(`${letter.message_receipt_id} is dead twice`);
        dead.set(letter.message_receipt_id, letter.retries);
      }
    }
    return dead;
  }
}
