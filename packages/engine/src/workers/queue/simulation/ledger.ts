/**
 * The client's log, and what must be true of it: invariants I1 to I5 of the guarantees, judged by what
 * was sent, answered, started and ended, never by what the engine says of itself.
 *
 *   I1  what was acknowledged ends: done, dead-lettered, or withdrawn because someone asked for it
 *   I2  a receipt whose end was told is never started again
 *   I3  one execution of a receipt at a time (one that timed out or was lost may go on)
 *   I4  attempts are failures and timeouts, nothing else
 *   I5  in a group, handlers start in the order of the jobs, one at a time
 */
import type { Execution, Witness } from './router.js';
import { Fate, type Sent, type SentOptions } from './fate.js';
import { durabilityOf, type Setup } from './setup.js';
import type { Time } from './time.js';

/** Losses in a row that dead-letter a job: one more than the engine forgives. */
const MAX_LOSSES = 11;

export class Violation extends Error {}

interface Span {
  readonly place: string;
  readonly from: number;
  to: number;
}

export class Ledger implements Witness {
  readonly sent: Sent[] = [];
  readonly fates = new Map<string, Fate>();
  /** How often the engine was started. */
  life = 0;
  /** How often the system's clock had been set when the engine read it, at its start. */
  bootJumps = 0;
  /** Order of what the client saw and did. */
  tick = 0;
  /** Queues and topics that are paused for certain. */
  readonly paused = new Set<string>();
  /** Handlers must not start any more: everything has ended. */
  isOver = false;
  readonly redrives: Span[] = [];
  /** Queues and topics of which someone dropped jobs. */
  readonly purged = new Set<string>();
  /** When a purge of a place was last answered; `Infinity` while one is under way. */
  readonly purges = new Map<string, number>();
  readonly replayed = new Set<string>();
  readonly #setup: Setup;
  readonly #time: Time;
  readonly #highestStarted = new Map<string, number>();
  readonly #startTimes = new Map<string, number[]>();

  constructor(setup: Setup, time: Time) {
    this.#setup = setup;
    this.#time = time;
  }

  /** The client sends a job or a message. */
  sends(part: Pick<Sent, 'kind' | 'place' | 'functionId' | 'group' | 'batch' | 'options' | 'owed' | 'held'>): Sent {
    const id = this.sent.length;
    const payload = JSON.stringify(part.group === undefined ? { id } : { id, group: part.group });
    const sent: Sent = {
      ...part,
      id,
      payloads: new Set([payload]),
      tick: ++this.tick,
      life: this.life,
      sentMs: this.#time.elapsedMs,
      sentWallMs: this.#time.wallMs,
      jumps: this.bootJumps,
      state: 'sent',
      ackedTick: undefined,
      receipt: undefined,
    };
    this.sent.push(sent);
    return sent;
  }

  /** A job was acknowledged. */
  acknowledged(sent: Sent, receipt: string | undefined, deduplicated: boolean): void {
    sent.ackedTick = ++this.tick;
    sent.state = deduplicated ? 'deduplicated' : 'acknowledged';
    if (receipt === undefined) return;
    if (deduplicated) {
      const owner = this.sent.find((other) => other.receipt === receipt);
      if (owner !== undefined && owner.options.uniqueKey !== sent.options.uniqueKey)
        throw new Violation(`job ${sent.id} was told to be the same as job ${owner.id}, which has another unique key`);
      return;
    }
    if (sent.receipt !== undefined && sent.receipt !== receipt)
      throw new Violation(`job ${sent.id} runs as ${sent.receipt} and was acknowledged as ${receipt}`);
    this.#checkUnique(sent);
    sent.receipt = receipt;
    this.#fateOf(sent, receipt, sent.place, false);
  }

  /** @param forCertain - nothing was kept */
  refused(sent: Sent, forCertain: boolean): void {
    sent.state = forCertain ? 'refused' : 'unsure';
  }

  /** The engine is gone: who waited for an answer gets none, and what ran is nobody's. */
  crashed(powerCut: boolean): void {
    this.tick++;
    for (const sent of this.sent)
      if (this.#mayBeGone(sent, powerCut) && sent.state === 'acknowledged') sent.state = 'unsure';
    for (const fate of this.fates.values()) if (this.#mayBeGone(fate.sent, powerCut)) this.#forget(fate);
    for (const place of this.paused) if (durabilityOf(this.#setup, place) === 'memory') this.paused.delete(place);
    for (const sent of this.sent) if (sent.state === 'sent') sent.state = 'unsure';
    for (const fate of this.fates.values()) fate.running = undefined;
    for (const span of this.redrives) span.to = Math.min(span.to, this.tick);
    for (const [place, at] of this.purges) this.purges.set(place, Math.min(at, this.tick));
    this.#startTimes.clear();
  }

  started(execution: Execution): void {
    this.tick++;
    const { told } = execution;
    const sent = this.#sentBy(execution);
    const line = told.topic === undefined ? (told.queue ?? '') : `${told.topic}::${execution.functionId}`;
    const fate = this.fates.get(told.receipt) ?? this.#discover(sent, execution, line);
    if (this.isOver) throw new Violation(`I2: ${told.receipt} was started after all had ended`);
    if (fate.sent !== sent || fate.line !== line) throw new Violation(`${told.receipt} is another job than before`);
    this.#checkState(fate);
    this.#checkAttempt(fate, told.attempt);
    this.#checkTimes(fate);
    this.#checkOrder(fate);
    this.#checkBounds(fate, told.queue ?? told.topic ?? '');
    fate.shown = told.attempt;
    fate.starts++;
    fate.running = execution;
  }

  ended(execution: Execution, how: 'done' | 'failed' | 'timeout' | 'lost' | 'refused'): void {
    this.tick++;
    const fate = this.fates.get(execution.told.receipt) as Fate;
    if (fate.running !== execution) return; // it was rejected, or its engine is gone
    fate.running = undefined;
    if (how === 'done') fate.doneIn = this.life;
    if (how === 'done' || how === 'failed' || how === 'timeout') fate.lostInARow = 0;
    if (how === 'failed' || how === 'timeout') this.#failed(fate, this.#backoffOf(fate));
    if (how !== 'lost') return;
    fate.lostInARow++;
    if (fate.lostInARow >= MAX_LOSSES) fate.exhausted = { tick: this.tick, life: this.life };
  }

  late(execution: Execution): void {
    const fate = this.fates.get(execution.told.receipt);
    if (fate !== undefined && fate.running === undefined) fate.lateDone = true;
  }

  /** A handler rejects its job. */
  rejected(fate: Fate, retryInMs: number | undefined): void {
    this.tick++;
    fate.running = undefined;
    fate.lostInARow = 0;
    this.#failed(fate, retryInMs ?? 0);
    if (retryInMs === undefined) fate.exhausted = { tick: this.tick, life: this.life };
  }

  /** Someone was told a state of a receipt. @param askedAt - tick of the question: an older end must be known */
  told(receipt: string, state: string, askedAt: number): void {
    const fate = this.fates.get(receipt);
    if (fate === undefined || !FINAL.has(state)) {
      if (fate?.final !== undefined && fate.finalTick < askedAt && state !== 'unknown')
        throw new Violation(`I2: ${receipt} was ${fate.final} and is ${state}`);
      return;
    }
    if (fate.final !== undefined && fate.final !== state)
      throw new Violation(`I2: ${receipt} was ${fate.final} and is ${state}`);
    if (state === 'done' && !fate.isDone) throw new Violation(`I2: ${receipt} is done, but no handler said so`);
    if (state !== 'done' && fate.excuses.size === 0)
      throw new Violation(`I2: ${receipt} is ${state}, which nobody asked for`);
    fate.final = state;
    fate.finalTick = ++this.tick;
  }

  /** Everything has had its time: what is open now never ends. @param dead - receipts and attempts of dead letters */
  checkEnd(dead: ReadonlyMap<string, number>): void {
    for (const [receipt, attempts] of dead) {
      const fate = this.fates.get(receipt);
      if (fate === undefined) throw new Violation(`a dead letter ${receipt} is of nobody's job`);
      if (fate.exhausted === undefined)
        throw new Violation(`I1: ${receipt} is dead after ${fate.failures} of ${fate.maxAttempts} attempts`);
      if (fate.failedIn === this.life && attempts !== fate.failures)
        throw new Violation(`I4: ${receipt} is dead with ${attempts} attempts after ${fate.failures} failures`);
      if (fate.final !== undefined) throw new Violation(`I2: ${receipt} was ${fate.final} and is dead`);
    }
    const ended = (fate: Fate): boolean =>
      fate.isDone || dead.has(fate.receipt) || fate.final !== undefined || fate.excuses.size > 0;
    for (const sent of this.sent) {
      if (sent.state === 'acknowledged') this.#checkEnded(sent, ended);
      if (sent.state !== 'deduplicated' && sent.state !== 'refused') continue;
      const ran = [...this.fates.values()].find((fate) => fate.sent === sent);
      if (ran !== undefined) throw new Violation(`job ${sent.id} was ${sent.state} and exists as ${ran.receipt}`);
    }
    this.#checkBatches();
  }

  /** What was promised of a job does not hold any more. */
  #mayBeGone({ place }: Sent, powerCut: boolean): boolean {
    const durability = durabilityOf(this.#setup, place);
    return durability === 'memory' || (durability === 'normal' && powerCut);
  }

  #forget(fate: Fate): void {
    fate.excuses.add('durability');
    fate.final = undefined;
    fate.shown = 0;
    if (fate.group !== undefined) this.#highestStarted.delete(fate.group);
  }

  #checkEnded(sent: Sent, ended: (fate: Fate) => boolean): void {
    const own = [...this.fates.values()].filter((fate) => fate.sent === sent && !fate.replayed);
    if (sent.kind === 'job') {
      if (!own.some(ended) && !(own.length === 0 && this.purged.has(sent.place)))
        throw new Violation(`I1: job ${sent.id} (${sent.receipt}) was acknowledged and never ended`);
      return;
    }
    for (const functionId of sent.owed) {
      const fate = own.find(({ line }) => line === `${sent.place}::${functionId}`);
      if (fate === undefined ? !this.purged.has(sent.place) : !ended(fate))
        throw new Violation(`I1: message ${sent.id} was acknowledged and never came to ${functionId}`);
    }
    if (sent.held && !this.purged.has(sent.place) && !own.some(ended))
      throw new Violation(`I1: message ${sent.id} was held and came to nobody`);
  }

  #checkBatches(): void {
    const batches = new Map<number, boolean[]>();
    for (const sent of this.sent) {
      const { uniqueKey, expiresAtMs } = sent.options;
      if (sent.batch === undefined || sent.state !== 'unsure') continue;
      if (uniqueKey !== undefined || expiresAtMs !== undefined || this.purged.has(sent.place)) continue;
      if (durabilityOf(this.#setup, sent.place) === 'memory') continue;
      const there = [...this.fates.values()].some((fate) => fate.sent === sent);
      const others = batches.get(sent.batch);
      if (others === undefined) batches.set(sent.batch, [there]);
      else others.push(there);
    }
    for (const [batch, there] of batches)
      if (there.includes(true) && there.includes(false)) throw new Violation(`batch ${batch} was stored in part`);
  }

  #sentBy(execution: Execution): Sent {
    const { id } = JSON.parse(execution.data) as { id: number };
    const sent = this.sent[id];
    if (sent === undefined) throw new Violation(`${execution.told.receipt} is a job that nobody sent`);
    if (!sent.payloads.has(execution.data))
      throw new Violation(`job ${id} was delivered with ${execution.data}, not ${[...sent.payloads].join(' or ')}`);
    if (sent.functionId !== undefined && sent.functionId !== execution.functionId)
      throw new Violation(`job ${id} went to ${execution.functionId}`);
    return sent;
  }

  /** A receipt that no answer has told yet. */
  #discover(sent: Sent, { told, functionId }: Execution, line: string): Fate {
    const replayed = told.replayed === true;
    if (replayed && !this.replayed.has(functionId)) throw new Violation(`message ${sent.id} was replayed unasked`);
    if (sent.kind === 'job') {
      if (sent.receipt !== undefined) throw new Violation(`job ${sent.id} runs as ${sent.receipt} and ${told.receipt}`);
      sent.receipt = told.receipt;
    } else if (!replayed) {
      for (const other of this.fates.values())
        if (other.sent === sent && other.line === line && !other.replayed)
          throw new Violation(`message ${sent.id} was delivered as ${other.receipt} and ${told.receipt}`);
    }
    return this.#fateOf(sent, told.receipt, line, replayed);
  }

  #fateOf(sent: Sent, receipt: string, line: string, replayed: boolean): Fate {
    const known = this.fates.get(receipt);
    if (known !== undefined) return known;
    const queue = this.#setup.queues.find(({ name }) => name === line);
    const subscription = this.#setup.subscriptions.find(({ topic, functionId }) => `${topic}::${functionId}` === line);
    const isFifo = queue === undefined ? subscription?.fifo === true : queue.type === 'fifo' && !queue.turning;
    const group = isFifo && !replayed ? `${line}/${queue === undefined ? '' : (sent.group ?? '')}` : undefined;
    const maxAttempts = subscription?.maxAttempts ?? sent.options.maxAttempts;
    const fate = new Fate(receipt, sent, line, group, maxAttempts, replayed, sent.tick, sent.tick);
    if (sent.options.expiresAtMs !== undefined) fate.excuses.add('expiry');
    if ((this.purges.get(sent.place) ?? -1) >= sent.tick) fate.excuses.add('purge');
    this.fates.set(receipt, fate);
    return fate;
  }

  #failed(fate: Fate, delayMs: number): void {
    fate.failures++;
    fate.failedIn = this.life;
    fate.notBeforeMs = this.#time.elapsedMs + delayMs;
    if (fate.failures >= fate.maxAttempts) fate.exhausted = { tick: this.tick, life: this.life };
  }

  #backoffOf(fate: Fate): number {
    const setup =
      this.#setup.queues.find(({ name }) => name === fate.line) ??
      this.#setup.subscriptions.find(({ topic, functionId }) => `${topic}::${functionId}` === fate.line);
    return (setup?.backoffMs ?? 0) * 2 ** fate.failures;
  }

  #checkState(fate: Fate): void {
    const { receipt } = fate;
    if (fate.final !== undefined) throw new Violation(`I2: ${receipt} was ${fate.final} and was started again`);
    if (fate.running !== undefined) throw new Violation(`I3: ${receipt} runs twice at once`);
    if (fate.doneIn === this.life) throw new Violation(`I2: ${receipt} was done and was started again`);
    const { exhausted } = fate;
    if (exhausted?.life === this.life && this.#redriven(fate) === undefined)
      throw new Violation(`I2: ${receipt} was dead and was started again`);
  }

  /** May a redrive have brought it back since it was exhausted? The part of the order that it then belongs to. */
  #redriven({ exhausted, line, sent }: Fate): Pick<Span, 'from' | 'to'> | undefined {
    if (exhausted === undefined) return undefined;
    const spans = this.redrives.filter(
      ({ place, to }) => (place === line || place === sent.place) && to >= exhausted.tick,
    );
    if (spans.length === 0) return undefined;
    return { from: Math.min(...spans.map(({ from }) => from)), to: Math.max(...spans.map(({ to }) => to)) };
  }

  #checkAttempt(fate: Fate, attempt: number): void {
    const again = attempt === 1 ? this.#redriven(fate) : undefined;
    if (again !== undefined) {
      fate.failures = fate.shown = fate.lostInARow = 0;
      fate.notBeforeMs = -Infinity;
      // If its engine is gone, that it was dead may not have been kept: then it is only started again.
      const isSure = fate.exhausted?.life === this.life;
      fate.from = isSure ? again.from : Math.min(fate.from, again.from);
      fate.to = Math.max(fate.to, again.to);
      fate.hadDied = true;
      fate.exhausted = undefined;
      fate.failedIn = -1;
    }
    const { receipt, failures, shown } = fate;
    const told = `attempt ${attempt} of ${receipt}`;
    if (attempt - 1 > failures) throw new Violation(`I4: ${told} after ${failures} failures`);
    if (attempt < shown) throw new Violation(`I4: ${told} after attempt ${shown}`);
    if (fate.failedIn === this.life && attempt - 1 !== failures)
      throw new Violation(`I4: ${told} after ${failures} failures`);
    fate.failures = attempt - 1;
    // What its engine heard and did not keep is no failure: it was started with the same attempt.
    if (fate.exhausted !== undefined && fate.exhausted.life !== this.life) fate.exhausted = undefined;
  }

  #checkTimes(fate: Fate): void {
    const { sent, receipt } = fate;
    const { elapsedMs, wallMs, jumps } = this.#time;
    const { delayMs, runAtMs, expiresAtMs } = sent.options;
    if (expiresAtMs !== undefined && wallMs >= expiresAtMs && fate.starts === 0)
      throw new Violation(`${receipt} was started after it had expired`);
    if (fate.failedIn === this.life && elapsedMs < fate.notBeforeMs - 1)
      throw new Violation(`${receipt} was started ${fate.notBeforeMs - elapsedMs} ms before its retry was due`);
    if (fate.starts > 0 || jumps !== sent.jumps) return;
    if (delayMs !== undefined && elapsedMs < sent.sentMs + delayMs - 1)
      throw new Violation(`${receipt} was started too early`);
    if (runAtMs !== undefined && wallMs < runAtMs) throw new Violation(`${receipt} was started before its time`);
  }

  #checkOrder(fate: Fate): void {
    const { group, receipt } = fate;
    if (group === undefined) return;
    const highest = this.#highestStarted.get(group) ?? -1;
    if (fate.to < highest) throw new Violation(`I5: ${receipt} was started after a later job of group ${group}`);
    this.#highestStarted.set(group, Math.max(highest, fate.from));
    for (const other of this.fates.values())
      if (other !== fate && other.group === group && other.running !== undefined)
        throw new Violation(`I5: ${receipt} and ${other.receipt} of group ${group} run at once`);
  }

  #checkBounds(fate: Fate, place: string): void {
    if (this.paused.has(place)) throw new Violation(`${fate.receipt} was started while '${place}' was paused`);
    const queue = this.#setup.queues.find(({ name }) => name === fate.line);
    if (queue === undefined) return;
    let running = 1;
    for (const other of this.fates.values()) if (other.line === fate.line && other.running !== undefined) running++;
    if (running > queue.concurrency) throw new Violation(`${running} jobs of '${queue.name}' run at once`);
    this.#checkRate(queue.name, queue.rate);
    const { rateKey } = fate.sent.options;
    if (rateKey !== undefined) this.#checkRate(`${queue.name}/${rateKey}`, queue.ratePerKey);
  }

  #checkRate(what: string, rate: { readonly max: number; readonly per_ms: number } | undefined): void {
    if (rate === undefined) return;
    const now = this.#time.elapsedMs;
    const recent = (this.#startTimes.get(what) ?? []).filter((at) => at > now - rate.per_ms + 1);
    recent.push(now);
    this.#startTimes.set(what, recent);
    if (recent.length > rate.max)
      throw new Violation(`${recent.length} jobs of '${what}' started in ${rate.per_ms} ms`);
  }

  #checkUnique(sent: Sent): void {
    const { uniqueKey } = sent.options;
    if (uniqueKey === undefined) return;
    for (const other of this.sent) {
      if (other.place !== sent.place || other.options.uniqueKey !== uniqueKey || other === sent) continue;
      if (other.state !== 'acknowledged' || other.receipt === undefined || (other.ackedTick ?? 0) > sent.tick) continue;
      const fate = this.fates.get(other.receipt);
      const { uniqueMs } = other.options;
      const isTaken =
        uniqueMs === undefined
          ? fate?.mayHaveEnded === false
          : other.jumps === this.#time.jumps && this.#time.wallMs < other.sentWallMs + uniqueMs;
      if (isTaken) throw new Violation(`jobs ${other.id} and ${sent.id} have the same unique key`);
    }
  }
}

const FINAL: ReadonlySet<string> = new Set(['done', 'cancelled', 'expired', 'purged', 'discarded']);

export type { SentOptions };
