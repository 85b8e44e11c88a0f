/**
 * The built-in broker: SQLite behind the storage thread, leases and a bounded window of ready jobs in
 * memory. One engine owns the file.
 *
 * Hot path (`accept`, `reserve`, `settle`): one store operation per accepted and per ended job, no
 * parse of a payload, no timer per job. Guarded by the enqueue row of the benchmarks.
 *
 * Order: the store runs operations in the order of the calls, so sequence numbers are committed in
 * order and a lane's `last` only grows.
 */
import { toErrorBody, TrineError } from '@trine/protocol';
import { builtUrl } from '../../../core/built-url.js';
import type { Timer } from '../../../core/clock.js';
import type { Store } from '../../../core/store.js';
import type { WorkerHost } from '../../../core/worker-host.js';
import type { Decision, Failure, Job } from '../job.js';
import type { DeadKey, DeadRow, JobRow, Snapshot } from '../store.js';
import { BuiltinLine } from './builtin-line.js';
import { DueHeap } from './due-heap.js';
import type { Attempts, Broker, BrokerEvents, DeadLetter, Lease, Line, LineSpec, Message, NewJob } from './index.js';
import { Lane } from './lane.js';

/** Ends that are not committed yet; above it nothing is leased. */
export const MAX_UNCOMMITTED_ENDS = 1_000;
/** Wait before an end is stored again after a failure of the disk, in milliseconds. */
const STORE_AGAIN_MS = 1_000;
/** Longest sleep of the timer for due jobs, in milliseconds. */
const MAX_SLEEP_MS = 60_000;
/** Postponed jobs per line kept with their payload; the others are read when they are due. */
const MAX_KEPT_DELAYED = 1_000;
/** Jobs in one operation on many. */
const CHUNK = 500;
const CLOSED = 'storage_closed';

interface Delayed {
  readonly due: number;
  readonly seq: number;
  readonly lane: Lane;
  job: Job | undefined;
}

interface BuiltinLease extends Lease {
  readonly lane: Lane;
}

interface Held {
  count: number;
  bytes: number;
}

/** @param file - SQLite file; undefined = the engine's own */
export async function openBuiltin(host: WorkerHost, file: string | undefined, events: BrokerEvents): Promise<Broker> {
  const store = await host.storage.open({
    module: builtUrl(import.meta.url, '../store.js'),
    ...(file === undefined ? {} : { file }),
  });
  const offset = host.clock.now() - host.clock.monotonic();
  await store.write('start', Math.round(offset + host.clock.monotonic()));
  return new BuiltinBroker(host, store, offset, await store.read<Snapshot>('snapshot'), events);
}

class BuiltinBroker implements Broker {
  readonly #host: WorkerHost;
  readonly #store: Store;
  readonly #events: BrokerEvents;
  /** Wall time at the start minus steady time: due times survive a restart and ignore a clock that is set. */
  readonly #offset: number;
  readonly #lines = new Map<string, BuiltinLine>();
  readonly #lineOrder: BuiltinLine[] = [];
  readonly #delayed = new DueHeap<Delayed>();
  readonly #keptDelayed = new Map<BuiltinLine, number>();
  readonly #parked = new Map<string, Set<Lane>>();
  readonly #heldTopics = new Map<string, Held>();
  /** What was stored by an earlier run may have been delivered. */
  readonly #firstSeq: number;
  #nextSeq: number;
  #nextLane: number;
  #nextLine: number;
  #uncommittedEnds = 0;
  #timer: Timer | undefined;
  #timerDue = Infinity;
  #draining = false;
  #stopped = false;

  constructor(host: WorkerHost, store: Store, offset: number, snapshot: Snapshot, events: BrokerEvents) {
    this.#host = host;
    this.#store = store;
    this.#offset = offset;
    this.#events = events;
    this.#nextSeq = this.#firstSeq = snapshot.lastSeq + 1;
    this.#nextLane = snapshot.lastLane + 1;
    this.#nextLine = (snapshot.lines.at(-1)?.id ?? 0) + 1;
    this.#load(snapshot);
  }

  *lines(): Iterable<Line> {
    yield* this.#lineOrder;
  }

  find(spec: LineSpec): BuiltinLine | undefined {
    return this.#lines.get(keyOf(spec));
  }

  async openQueue(name: string, serial: boolean): Promise<Line> {
    const spec = { kind: 'queue', name, namespace: '', functionId: '' } as const;
    const known = this.find(spec);
    if (known !== undefined) {
      this.setSerial(known, serial);
      return known;
    }
    const line = this.#addLine(this.#nextLine++, spec, '{}', serial);
    try {
      await this.#store.write('putLine', line.id, 0, name, '', '', '{}', null);
    } catch (error) {
      this.#dropLine(line);
      throw error;
    }
    return line;
  }

  subscribe(
    spec: LineSpec,
    settings: string,
    serial: boolean,
    attempts: Attempts,
  ): { readonly line: Line; readonly committed: Promise<void> } {
    const known = this.find(spec);
    const line = known ?? this.#addLine(this.#nextLine++, spec, settings, serial);
    line.settings = settings;
    line.endedAt = undefined;
    line.offlineSince = undefined;
    this.setSerial(line, serial);
    const lane = this.#laneOf(line, spec.functionId, spec.namespace, undefined);
    lane.count++; // keeps the lane while the operation is under way
    const { maxAttempts, backoffMs } = attempts;
    const held = this.#heldTopics.get(spec.name);
    this.#heldTopics.delete(spec.name);
    const reserved = held?.count ?? 0;
    const firstSeq = this.#nextSeq;
    this.#nextSeq += reserved;
    const committed = this.#store
      .write<Held>(
        'subscribe',
        line.id,
        spec.name,
        spec.namespace,
        spec.functionId,
        settings,
        lane.id,
        firstSeq,
        reserved,
        maxAttempts,
        backoffMs,
      )
      .then(
        ({ count, bytes }) => {
          lane.count += count;
          line.bytes += bytes;
          if (count > 0) lane.last = Math.max(lane.last, firstSeq + count - 1);
          this.#uncount(lane);
          this.#wake(lane);
        },
        (error: unknown) => {
          this.#uncount(lane);
          if (known === undefined) this.#dropLine(line);
          if (held !== undefined) this.#heldTopics.set(spec.name, held);
          throw error;
        },
      );
    return { line, committed };
  }

  setSerial(line: Line, serial: boolean): void {
    const own = line as BuiltinLine;
    if (own.serial === serial) return;
    own.serial = serial;
    for (const lane of own.lanes.values()) this.#wake(lane);
  }

  async setOffline(line: Line, since: number | undefined): Promise<void> {
    const own = line as BuiltinLine;
    own.offlineSince = since;
    await this.#store.write('setOffline', own.id, since ?? null);
  }

  async endSubscription(line: Line, at: number): Promise<void> {
    const own = line as BuiltinLine;
    own.endedAt = at;
    await this.#store.write('endLine', own.id, at);
  }

  async dropBacklog(line: Line): Promise<number> {
    const own = line as BuiltinLine;
    const postponed = this.#delayed.remove(({ lane }) => lane.line === own);
    this.#keptDelayed.delete(own);
    if (postponed.length > 0) {
      await this.#store.write(
        'expire',
        own.id,
        postponed.map(({ seq }) => seq),
      );
      for (const { lane, job } of postponed) {
        lane.delayed--;
        this.#ended(lane, job?.data.length ?? 0);
      }
    }
    let dropped = postponed.length;
    for (;;) {
      const count = await this.expireOldest(line, CHUNK);
      dropped += count;
      if (count === 0) return dropped;
    }
  }

  async removeLine(line: Line): Promise<void> {
    const own = line as BuiltinLine;
    if (own.lanes.size > 0) return;
    const deleted = await this.#store.write<boolean>('deleteLine', own.id);
    // Someone may have subscribed again meanwhile.
    if (deleted && own.endedAt !== undefined) this.#dropLine(own);
  }

  accept(line: Line, job: NewJob): Promise<void> {
    const own = line as BuiltinLine;
    const { receipt, functionId, namespace, group, data, metadata, traceparent, baggage } = job;
    const { createdAt, maxAttempts, backoffMs } = job;
    const lane = this.#laneOf(own, functionId, namespace, group);
    const seq = this.#nextSeq++;
    lane.count++;
    own.bytes += data.length;
    return this.#store
      .write(
        'accept',
        seq,
        own.id,
        lane.id,
        receipt,
        functionId,
        namespace,
        group ?? null,
        data,
        metadata ?? null,
        traceparent ?? null,
        baggage ?? null,
        createdAt,
        maxAttempts,
        backoffMs,
      )
      .then(
        () => {
          if (!this.#keeps(lane, seq)) return;
          // Written out, not spread: this is the hot path, and a copy by spread costs several times more.
          lane.append({
            seq,
            receipt,
            jobId: undefined,
            functionId,
            namespace,
            group,
            data,
            metadata,
            traceparent,
            baggage,
            createdAt,
            maxAttempts,
            backoffMs,
            attempts: 0,
            lost: 0,
            redelivered: false,
            failures: NONE,
          });
          this.#wake(lane);
        },
        (error: unknown) => {
          own.bytes -= data.length;
          this.#uncount(lane);
          throw error;
        },
      );
  }

  async publish(
    message: Message,
    lines: readonly { readonly line: Line; readonly attempts: Attempts }[],
  ): Promise<void> {
    const { topic, data, traceparent, baggage, createdAt } = message;
    const id = this.#nextSeq++;
    const receipt = this.#host.random.uuid();
    const deliveries: (string | number)[] = [];
    const jobs: { readonly lane: Lane; readonly job: Job }[] = [];
    for (const { line, attempts } of lines) {
      const own = line as BuiltinLine;
      const lane = this.#laneOf(own, line.functionId, line.namespace, undefined);
      const job: Job = {
        ...attempts,
        seq: this.#nextSeq++,
        receipt: this.#host.random.uuid(),
        jobId: undefined,
        functionId: line.functionId,
        namespace: line.namespace,
        group: undefined,
        data,
        metadata: undefined,
        traceparent,
        baggage,
        createdAt,
        attempts: 0,
        lost: 0,
        redelivered: false,
        failures: NONE,
      };
      lane.count++;
      own.bytes += data.length;
      jobs.push({ lane, job });
      deliveries.push(
        job.seq,
        own.id,
        lane.id,
        job.receipt,
        job.functionId,
        job.namespace,
        job.maxAttempts,
        job.backoffMs,
      );
    }
    if (jobs.length === 0) this.#countHeld(topic, 1, data.length);
    try {
      await this.#store.write(
        'publish',
        id,
        topic,
        receipt,
        data,
        traceparent ?? null,
        baggage ?? null,
        createdAt,
        deliveries,
      );
    } catch (error) {
      for (const { lane } of jobs) {
        lane.line.bytes -= data.length;
        this.#uncount(lane);
      }
      if (jobs.length === 0) this.#countHeld(topic, -1, -data.length);
      throw error;
    }
    for (const { lane, job } of jobs) this.#accepted(lane, job);
  }

  held(topic: string): Held {
    return this.#heldTopics.get(topic) ?? { count: 0, bytes: 0 };
  }

  heldTopics(): ReadonlyMap<string, Held> {
    return this.#heldTopics;
  }

  async dropHeld(topic: string, before: number): Promise<number> {
    const { count, bytes } = await this.#store.write<Held>('dropHeld', topic, before);
    if (this.#heldTopics.has(topic)) this.#countHeld(topic, -count, -bytes);
    return count;
  }

  async expireOldest(line: Line, count: number): Promise<number> {
    const own = line as BuiltinLine;
    let expired = 0;
    for (const lane of [...own.lanes.values()]) {
      const dropped = lane.drop(count - expired);
      if (dropped.length > 0) {
        await this.#store.write(
          'expire',
          own.id,
          dropped.map((job) => job.seq),
        );
        for (const job of dropped) this.#ended(lane, job.data.length);
        expired += dropped.length;
      }
      if (expired >= count || !lane.hasMoreStored || lane.loading) continue;
      // Nothing of the lane is in memory: what is stored beyond the cursor is nobody's yet.
      lane.loading = true;
      const stored = await this.#store
        .write<Held>('expireStored', own.id, lane.id, lane.cursor, count - expired)
        .finally(() => (lane.loading = false));
      own.bytes -= stored.bytes;
      for (let i = 0; i < stored.count; i++) this.#uncount(lane);
      expired += stored.count;
      this.#wake(lane);
    }
    own.expired += expired;
    return expired;
  }

  reserve(line: Line): Lease | undefined {
    if (this.#draining || this.#uncommittedEnds >= MAX_UNCOMMITTED_ENDS) return undefined;
    const own = line as BuiltinLine;
    for (;;) {
      const lane = own.round.shift();
      if (lane === undefined) return undefined;
      lane.queued = false;
      if (!lane.mayRun || lane.loading) continue;
      const next = lane.peek();
      const missing = this.#events.missing(own, next?.functionId ?? lane.functionId, next?.namespace ?? lane.namespace);
      if (missing !== undefined) {
        this.#park(lane, functionKey(missing.functionId, missing.namespace));
        continue;
      }
      if (next === undefined) {
        void this.#readPage(lane);
        continue;
      }
      const job = lane.take() as Job;
      lane.running++;
      this.#queue(lane);
      const lease: BuiltinLease = { job, line: own, lane };
      return lease;
    }
  }

  async settle(lease: Lease, decision: Decision): Promise<void> {
    const { job, lane } = lease as BuiltinLease;
    if (this.#stopped) return;
    if (decision.kind === 'release') {
      job.redelivered = true;
      lane.running--;
      this.#postpone(lane, job, decision.delayMs);
      return;
    }
    // A serial lane goes on when this is committed, another one when the answer is here.
    const held = lane.line.serial;
    if (!held) {
      lane.running--;
      lane.ending++;
    }
    if (decision.kind === 'postpone') {
      const due = this.#now() + decision.delayMs;
      job.attempts = decision.attempts;
      job.lost = decision.lost;
      job.failures = decision.failures;
      job.redelivered = true;
      await this.#commitEnd(
        'postpone',
        job.seq,
        due,
        decision.delayMs,
        job.attempts,
        job.lost,
        textOfFailures(job.failures),
      );
      if (held) lane.running--;
      else lane.ending--;
      this.#postpone(lane, job, Math.max(0, due - this.#now()));
      return;
    }
    if (!held) this.#wake(lane);
    if (decision.kind === 'done') {
      await this.#commitEnd('end', job.seq);
    } else {
      const { attempts, failures, error, code } = decision;
      const id = job.jobId ?? this.#host.random.uuid();
      await this.#commitEnd(
        'deadLetter',
        job.seq,
        id,
        attempts,
        textOfFailures(failures),
        error,
        code,
        this.#host.clock.now(),
      );
      lane.line.dead++;
    }
    if (held) lane.running--;
    else lane.ending--;
    this.#ended(lane, job.data.length);
    this.#wake(lane);
  }

  functionAppeared(functionId: string, namespace: string): void {
    const lanes = this.#parked.get(functionKey(functionId, namespace));
    if (lanes === undefined) return;
    for (const lane of [...lanes]) {
      this.#unpark(lane);
      this.#wake(lane);
    }
  }

  recheck(line: Line): void {
    for (const lane of (line as BuiltinLine).lanes.values()) {
      this.#unpark(lane);
      this.#wake(lane);
    }
  }

  async browseDead(lines: readonly Line[], offset: number, limit: number): Promise<readonly DeadLetter[]> {
    const byId = new Map(lines.map((line) => [(line as BuiltinLine).id, line]));
    if (byId.size === 0) return [];
    const rows = await this.#store.read<DeadRow[]>('browseDead', [...byId.keys()], offset, limit);
    return rows.map((row) => ({
      line: byId.get(row.line) as Line,
      jobId: row.jobId,
      receipt: row.receipt,
      functionId: row.functionId,
      data: row.data,
      attempts: row.attempts,
      failures: row.errors ?? '[]',
      error: row.error,
      code: row.errorCode,
      failedAt: row.failedAt,
    }));
  }

  async redrive(line: Line): Promise<number> {
    const own = line as BuiltinLine;
    let left = own.dead; // what is dead-lettered meanwhile is for the next time
    let redriven = 0;
    while (left > 0) {
      const keys = await this.#store.read<DeadKey[]>('deadKeys', own.id, Math.min(CHUNK, left));
      if (keys.length === 0) break;
      redriven += await this.#redrive(own, keys);
      left -= keys.length;
    }
    return redriven;
  }

  async redriveOne(lines: readonly Line[], id: string): Promise<boolean> {
    for (const { key, line } of await this.#findDead(lines, id)) {
      if ((await this.#redrive(line, [key])) > 0) return true;
    }
    return false;
  }

  async discardOne(lines: readonly Line[], id: string): Promise<boolean> {
    for (const { key, line } of await this.#findDead(lines, id)) {
      if (!(await this.#store.write<boolean>('discard', key.seq))) continue;
      line.dead--;
      return true;
    }
    return false;
  }

  drain(): void {
    this.#draining = true;
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#draining = true;
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#store.close();
  }

  #load(snapshot: Snapshot): void {
    const byId = new Map<number, BuiltinLine>();
    for (const row of snapshot.lines) {
      const { name, namespace, functionId } = row;
      const line = this.#addLine(
        row.id,
        { kind: row.isTopic === 1 ? 'subscription' : 'queue', name, namespace, functionId },
        row.settings,
        false,
      );
      line.offlineSince = row.offlineSince ?? undefined;
      line.endedAt = row.endedAt ?? undefined;
      line.expired = row.expired;
      byId.set(row.id, line);
    }
    for (const { line, count } of snapshot.dead) {
      const own = byId.get(line);
      if (own !== undefined) own.dead = count;
    }
    const lanes = new Map<number, Lane>();
    for (const row of snapshot.lanes) {
      const line = byId.get(row.line);
      if (line === undefined) {
        this.#host.log.error('jobs of an unknown queue are left alone', { line: row.line, jobs: row.count });
        continue;
      }
      const group = row.group ?? undefined;
      const lane = new Lane(
        row.lane,
        laneKey(row.functionId, row.namespace, group),
        line,
        row.functionId,
        row.namespace,
      );
      // Two lanes of one key come from a change between fifo and standard: both are worked off.
      line.lanes.set(line.lanes.has(lane.key) ? `${lane.key}\u0000${lane.id}` : lane.key, lane);
      lane.count = row.count;
      lane.last = row.last;
      line.bytes += row.bytes;
      lanes.set(row.lane, lane);
      this.#queue(lane);
    }
    for (const { seq, lane, due } of snapshot.delayed) {
      const own = lanes.get(lane);
      if (own === undefined) continue;
      own.delayed++;
      this.#delayed.push({ due, seq, lane: own, job: undefined });
    }
    for (const { topic, count, bytes } of snapshot.held) this.#heldTopics.set(topic, { count, bytes });
    this.#arm();
  }

  #addLine(id: number, spec: LineSpec, settings: string, serial: boolean): BuiltinLine {
    const line: BuiltinLine = new BuiltinLine(id, spec, settings, serial, (lane): boolean => {
      const next = lane.peek();
      return (
        this.#events.missing(line, next?.functionId ?? lane.functionId, next?.namespace ?? lane.namespace) !== undefined
      );
    });
    this.#lines.set(keyOf(spec), line);
    this.#lineOrder.push(line);
    return line;
  }

  #dropLine(line: BuiltinLine): void {
    this.#lines.delete(keyOf(line));
    const at = this.#lineOrder.indexOf(line);
    if (at >= 0) this.#lineOrder.splice(at, 1);
    this.#keptDelayed.delete(line);
  }

  #laneOf(line: BuiltinLine, functionId: string, namespace: string, group: string | undefined): Lane {
    const key = laneKey(functionId, namespace, group);
    let lane = line.lanes.get(key);
    if (lane === undefined) {
      lane = new Lane(this.#nextLane++, key, line, functionId, namespace);
      lane.cursor = lane.last = this.#nextSeq - 1;
      line.lanes.set(key, lane);
    }
    return lane;
  }

  /** A job is committed: into memory if its lane has nothing older on disk and there is room. */
  #accepted(lane: Lane, job: Job): void {
    if (!this.#keeps(lane, job.seq)) return;
    lane.append(job);
    this.#wake(lane);
  }

  /** A job was accepted: does it stay in memory? If not, it is read from the store when its turn comes. */
  #keeps(lane: Lane, seq: number): boolean {
    const inMemory = !lane.hasMoreStored && !lane.loading && seq > lane.cursor && !lane.line.full;
    lane.last = Math.max(lane.last, seq);
    if (!inMemory) this.#wake(lane);
    return inMemory;
  }

  async #readPage(lane: Lane): Promise<void> {
    lane.loading = true;
    const { last } = lane; // all up to here was answered, so the read sees it
    try {
      const rows = await this.#store.read<JobRow[]>('page', lane.id, lane.cursor, lane.pageSize);
      for (const row of rows) lane.append(this.#jobOf(row));
      // A page that the store cut short says nothing about what follows its last job.
      if (rows.length === 0) lane.cursor = Math.max(lane.cursor, last);
      lane.last = Math.max(lane.last, lane.cursor);
      lane.loading = false;
      this.#wake(lane);
    } catch (error) {
      if (isClosed(error)) return;
      this.#host.log.error('jobs could not be read from the store: trying again', {
        queue: lane.line.name,
        error: toErrorBody(error).message,
      });
      this.#host.clock.setTimer(() => {
        lane.loading = false;
        this.#wake(lane);
      }, STORE_AGAIN_MS);
    }
  }

  #jobOf(row: JobRow): Job {
    return {
      seq: row.seq,
      receipt: row.receipt,
      jobId: row.jobId ?? undefined,
      functionId: row.functionId,
      namespace: row.namespace,
      group: row.group ?? undefined,
      data: row.data,
      metadata: row.metadata ?? undefined,
      traceparent: row.traceparent ?? undefined,
      baggage: row.baggage ?? undefined,
      createdAt: row.createdAt,
      maxAttempts: row.maxAttempts,
      backoffMs: row.backoffMs,
      attempts: row.attempts,
      lost: row.lost,
      redelivered: row.seq < this.#firstSeq || row.attempts > 0 || row.lost > 0,
      failures: row.errors === null ? NONE : (JSON.parse(row.errors) as readonly Failure[]),
    };
  }

  /** Something about a lane changed: it may run now. */
  #wake(lane: Lane): void {
    if (this.#queue(lane)) this.#events.ready(lane.line);
  }

  #queue(lane: Lane): boolean {
    if (lane.parkedOn !== undefined || lane.loading || !lane.mayRun) return false;
    if (!lane.queued) {
      lane.queued = true;
      lane.line.round.push(lane);
    }
    return true;
  }

  #park(lane: Lane, key: string): void {
    lane.parkedOn = key;
    const lanes = this.#parked.get(key);
    if (lanes === undefined) this.#parked.set(key, new Set([lane]));
    else lanes.add(lane);
  }

  #unpark(lane: Lane): void {
    if (lane.parkedOn === undefined) return;
    const lanes = this.#parked.get(lane.parkedOn);
    lanes?.delete(lane);
    if (lanes?.size === 0) this.#parked.delete(lane.parkedOn);
    lane.parkedOn = undefined;
  }

  /** A job that is not running any more runs again after a delay. */
  #postpone(lane: Lane, job: Job, delayMs: number): void {
    if (delayMs <= 0) {
      lane.front.push(job);
      this.#wake(lane);
      return;
    }
    const kept = this.#keptDelayed.get(lane.line) ?? 0;
    const keep = kept < MAX_KEPT_DELAYED;
    if (keep) this.#keptDelayed.set(lane.line, kept + 1);
    lane.delayed++;
    this.#delayed.push({ due: this.#now() + delayMs, seq: job.seq, lane, job: keep ? job : undefined });
    this.#arm();
    this.#wake(lane);
  }

  /** One timer for the next due job. */
  #arm(): void {
    const next = this.#delayed.peek();
    if (next === undefined || this.#draining || next.due >= this.#timerDue) return;
    this.#timer?.cancel();
    this.#timerDue = next.due;
    this.#timer = this.#host.clock.setTimer(
      () => {
        this.#timerDue = Infinity;
        this.#promote();
        this.#arm();
      },
      Math.min(Math.max(0, next.due - this.#now()), MAX_SLEEP_MS),
    );
  }

  #promote(): void {
    const now = this.#now();
    const unread: Delayed[] = [];
    for (;;) {
      const next = this.#delayed.peek();
      if (next === undefined || next.due > now) break;
      this.#delayed.pop();
      if (next.job === undefined) {
        unread.push(next);
        continue;
      }
      this.#keptDelayed.set(next.lane.line, (this.#keptDelayed.get(next.lane.line) ?? 1) - 1);
      this.#due(next.lane, next.job);
    }
    for (let i = 0; i < unread.length; i += CHUNK) void this.#readDue(unread.slice(i, i + CHUNK));
  }

  async #readDue(entries: readonly Delayed[]): Promise<void> {
    try {
      const rows = await this.#store.read<JobRow[]>(
        'load',
        entries.map((entry) => entry.seq),
      );
      const bySeq = new Map(rows.map((row) => [row.seq, row]));
      for (const { seq, lane } of entries) {
        const row = bySeq.get(seq);
        if (row !== undefined) {
          this.#due(lane, this.#jobOf(row));
          continue;
        }
        this.#host.log.error('a postponed job is missing in the store', { queue: lane.line.name, seq });
        lane.delayed--;
        this.#uncount(lane);
        this.#wake(lane);
      }
    } catch (error) {
      if (isClosed(error)) return;
      this.#host.log.error('due jobs could not be read from the store: trying again', {
        error: toErrorBody(error).message,
      });
      const due = this.#now() + STORE_AGAIN_MS;
      for (const entry of entries) this.#delayed.push({ ...entry, due });
      this.#arm();
    }
  }

  #due(lane: Lane, job: Job): void {
    lane.delayed--;
    lane.front.push(job);
    this.#wake(lane);
  }

  /** Stores an end. A disk that fails is waited for: what happened to a job is never forgotten while the engine runs. */
  async #commitEnd(operation: string, ...args: readonly (string | number | null)[]): Promise<void> {
    this.#uncommittedEnds++;
    for (;;) {
      try {
        await this.#store.write(operation, ...args);
        break;
      } catch (error) {
        if (this.#stopped || isClosed(error)) return;
        this.#host.log.error('the end of a job could not be stored: trying again', {
          error: toErrorBody(error).message,
        });
        await new Promise<void>((again) => this.#host.clock.setTimer(again, STORE_AGAIN_MS));
      }
    }
    if (this.#uncommittedEnds-- === MAX_UNCOMMITTED_ENDS) for (const line of this.#lineOrder) this.#events.ready(line);
  }

  #ended(lane: Lane, length: number): void {
    lane.line.bytes -= length;
    this.#uncount(lane);
  }

  #uncount(lane: Lane): void {
    if (--lane.count > 0) return;
    this.#unpark(lane);
    const { lanes } = lane.line;
    if (lanes.get(lane.key) === lane) lanes.delete(lane.key);
    else for (const [key, other] of lanes) if (other === lane) lanes.delete(key);
    if (lanes.size === 0) lane.line.bytes = 0;
  }

  #countHeld(topic: string, count: number, bytes: number): void {
    const held = this.#heldTopics.get(topic) ?? { count: 0, bytes: 0 };
    held.count += count;
    held.bytes += bytes;
    if (held.count <= 0) this.#heldTopics.delete(topic);
    else this.#heldTopics.set(topic, held);
  }

  async #findDead(
    lines: readonly Line[],
    id: string,
  ): Promise<{ readonly key: DeadKey; readonly line: BuiltinLine }[]> {
    const byId = new Map(lines.map((line) => [(line as BuiltinLine).id, line as BuiltinLine]));
    const keys = await this.#store.read<DeadKey[]>('findDead', id);
    return keys.flatMap((key) => {
      const line = byId.get(key.line);
      return line === undefined ? [] : [{ key, line }];
    });
  }

  async #redrive(line: BuiltinLine, keys: readonly DeadKey[]): Promise<number> {
    const moves: number[] = [];
    const bySeq = new Map<number, { readonly lane: Lane; readonly size: number }>();
    for (const key of keys) {
      const lane = this.#laneOf(line, key.functionId, key.namespace, key.group ?? undefined);
      const seq = this.#nextSeq++;
      lane.count++;
      moves.push(key.seq, seq, lane.id);
      bySeq.set(seq, { lane, size: key.size });
    }
    try {
      const moved = new Set(await this.#store.write<number[]>('redrive', moves));
      for (const [seq, { lane, size }] of bySeq) {
        if (!moved.has(seq)) {
          this.#uncount(lane);
          continue;
        }
        line.dead--;
        line.bytes += size;
        lane.last = Math.max(lane.last, seq);
        this.#wake(lane);
      }
      return moved.size;
    } catch (error) {
      for (const { lane } of bySeq.values()) this.#uncount(lane);
      throw error;
    }
  }

  /** Whole milliseconds that never go back while the engine runs. */
  #now(): number {
    return Math.round(this.#offset + this.#host.clock.monotonic());
  }
}

const NONE: readonly Failure[] = [];

function keyOf({ kind, name, namespace, functionId }: LineSpec): string {
  return `${kind}\u0000${name}\u0000${namespace}\u0000${functionId}`;
}

/** A group is one sequence whatever its functions; without groups each function has its own. */
function laneKey(functionId: string, namespace: string, group: string | undefined): string {
  return group === undefined ? `f\u0000${namespace}\u0000${functionId}` : `g\u0000${group}`;
}

function functionKey(functionId: string, namespace: string): string {
  return `${namespace}\u0000${functionId}`;
}

function textOfFailures(failures: readonly Failure[]): string | null {
  return failures.length === 0 ? null : JSON.stringify(failures);
}

function isClosed(error: unknown): boolean {
  return error instanceof TrineError && error.code === CLOSED;
}
