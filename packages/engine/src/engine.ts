/**
 * The wiring: builds the parts of an engine, starts them in order, stops them in reverse.
 *
 * States: `new` -> `starting` -> `running` -> `stopping` -> `stopped`. A start that fails goes
 * through `stopping` as well. The transitions are `start()` and `stop()`; both may be called again.
 */
import { join, resolve } from 'node:path';
import { toErrorBody, TrineError } from '@trine/protocol';
import { BuiltIns } from './built-ins.js';
import {
  diffProjects,
  NotAppliedError,
  type ConfigError,
  type ProjectConfig,
  type WorkerEntry,
} from './config/index.js';
import type { BuiltInHost } from './core/built-in-host.js';
import { systemClock, type Clock } from './core/clock.js';
import { Core, type CoreLimits } from './core/core.js';
import { EmbeddedWorker } from './core/embedded-worker.js';
import { createLog, type LogLevel, type LogOutput } from './core/log-writer.js';
import { systemRandom, type Random } from './core/random.js';
import type { SessionLimits } from './core/remote-session.js';
import type { RouterLimits } from './core/router.js';
import type { WorkerDefinition } from './core/worker-host.js';
import { registerChannelFunction } from './core/channel-create.js';
import { registerWorkerFunction } from './core/worker-register.js';
import { reachableAt, type HeartbeatOptions } from './listener/index.js';
import { Drain, DRAIN_MS } from './drain.js';
import { Project } from './project.js';
import { StorageThreads } from './storage/index.js';
import { supervisorWorker } from './supervisor/index.js';
import { ENGINE_VERSION } from './version.js';
import { ALWAYS_ON, builtInWorkers, catalogOf } from './workers/catalog.js';
import { startDiscovery, type BuiltInInfo, type Discovery } from './workers/discovery/index.js';
import { keptLog, Telemetry } from './workers/observability/index.js';

export interface EngineOptions {
  /**
   * The configuration: the path of a config.yaml (relative to `cwd`), or the same tree as an object.
   * Default: `config.yaml`. A file is watched and its edits apply without a restart; an object is not.
   */
  readonly config?: unknown;
  /** The project folder: relative paths start here. Default: the folder of the process. */
  readonly cwd?: string;
  /** Where queues, topics and state are kept. Default: `<cwd>/data`. */
  readonly dataDir?: string;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Where the engine writes its log. Default: one on standard output at `logLevel`. */
  readonly log?: LogOutput;
  /** Default `warn` (the command starts engines with `info`); `level` of iii-observability wins. */
  readonly logLevel?: LogLevel;
  /** Environment for `${VAR}` in the configuration, and for the secrets of functions behind HTTP addresses. Default: that of the process. */
  readonly env?: NodeJS.ProcessEnv;
  readonly heartbeat?: Partial<HeartbeatOptions>;
  readonly limits?: Partial<RouterLimits & SessionLimits & CoreLimits>;
  /** How long `stop()` waits for what runs, in milliseconds. Default 25 s; 0 = not at all. */
  readonly drainMs?: number;
}

export interface StopOptions {
  /** How long to wait for what runs, in milliseconds. Default: what the engine was created with. */
  readonly drainMs?: number;
}

type EngineState = 'new' | 'starting' | 'running' | 'stopping' | 'stopped';

/** The order in which entries start: what others call at their start comes first, ports come last. */
const START_ORDER = [
  'observability',
  'configuration',
  'state',
  'database',
  'queue',
  'pubsub',
  'stream',
  'bridge',
  'http-functions',
  'http',
  'iii-worker-manager',
];

/** Neighbours that need nothing of each other: they wait for files, each on a thread of its own. */
const STARTED_AT_ONCE: ReadonlySet<string> = new Set(['state', 'database', 'queue', 'pubsub', 'stream']);

/**
 * Prepares an engine. Nothing runs until `start()`.
 *
 * @throws ConfigError when the configuration does not hold, one line per fault
 * @example
 * const engine = await createEngine({ config: { workers: [{ name: 'iii-queue' }] } });
 * await engine.start();
 * const worker = engine.worker('hello');
 * worker.registerFunction('hello::world', async () => ({ hello: 'world' }));
 * console.log(await worker.trigger({ function_id: 'hello::world' }));
 * await engine.stop();
 */
export async function createEngine(options: EngineOptions = {}): Promise<Engine> {
  const cwd = resolve(options.cwd ?? process.cwd());
  const log = options.log ?? createLog({ level: options.logLevel ?? 'warn' });
  const parts: { engine?: Engine } = {};
  const engine = (): Engine => parts.engine as Engine;
  const workers = builtInWorkers({
    observability: () => ({
      log,
      telemetry: engine().telemetry,
      health: engine().core.health,
      version: ENGINE_VERSION,
    }),
    env: () => options.env ?? process.env,
    configuration: () => engine().project.source,
    workerPort: () => ({
      core: engine().core,
      telemetry: engine().telemetry,
      heartbeat: options.heartbeat,
      sessionLimits: options.limits,
      pressure: engine().pressure,
    }),
  });
  const project = await Project.open({
    config: options.config ?? 'config.yaml',
    cwd,
    catalog: catalogOf(workers),
    env: options.env ?? process.env,
    apply: (next) => engine().apply(next),
  });
  parts.engine = new Engine(options, cwd, log, project, workers);
  return parts.engine;
}

export class Engine {
  /** @internal */
  readonly core: Core;
  /** @internal */
  readonly project: Project;
  /** @internal */
  readonly telemetry: Telemetry;
  readonly #log: LogOutput;
  readonly #workers: ReadonlyMap<string, WorkerDefinition>;
  readonly #storage: StorageThreads;
  readonly #builtIns: BuiltIns;
  readonly #ports = new Map<string, number>();
  readonly #embedded = new Map<string, EmbeddedWorker>();
  readonly #drain: Drain;
  readonly #drainMs: number;
  #discovery: Discovery | undefined;
  #state: EngineState = 'new';
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #halted: Promise<void> | undefined;
  /** What runs now; differs from the project's own view where an entry could not be applied. */
  #applied: WorkerEntry[] = [];
  #applying: Promise<void> = Promise.resolve();

  /** Use `createEngine`. */
  constructor(
    options: EngineOptions,
    cwd: string,
    output: LogOutput,
    project: Project,
    workers: ReadonlyMap<string, WorkerDefinition>,
  ) {
    const dataDir = options.dataDir === undefined ? join(cwd, 'data') : resolve(cwd, options.dataDir);
    // Nothing is written before there is a telemetry to keep it.
    const log = keptLog(output, (line) => this.telemetry.keepOwn(line));
    this.#log = log;
    this.#workers = workers;
    this.project = project;
    this.core = new Core({
      clock: options.clock ?? systemClock,
      random: options.random ?? systemRandom,
      log,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
    this.telemetry = new Telemetry({
      clock: this.core.clock,
      random: this.core.random,
      log,
      record: (recorder) => (this.core.router.recorder = recorder),
    });
    this.#storage = new StorageThreads({ projectDir: cwd, dataDir, log: log.for('iii::storage') });
    this.#builtIns = new BuiltIns({
      core: this.core,
      storage: this.#storage,
      projectDir: cwd,
      dataDir,
      alwaysOn: ALWAYS_ON,
      reportPort: (name, port) => {
        if (port === undefined) this.#ports.delete(name);
        else this.#ports.set(name, port);
      },
    });
    this.#drainMs = options.drainMs ?? DRAIN_MS;
    this.#drain = new Drain({ router: this.core.router, builtIns: this.#builtIns, log });
  }

  /** Version of this engine. */
  get version(): string {
    return ENGINE_VERSION;
  }

  get state(): EngineState {
    return this.#state;
  }

  /** Ports by the name of what listens on them: `iii-worker-manager`, `iii-worker-manager#1`, `http`, ... */
  get ports(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#ports);
  }

  /** @internal Tells when workers must not be read: more waits for the disk than it takes. */
  get pressure(): StorageThreads['pressure'] {
    return this.#storage.pressure;
  }

  /** Where workers on this machine connect, e.g. `ws://127.0.0.1:49134`. */
  get url(): string {
    return this.#urlBy('127.0.0.1');
  }

  /** @param loopback - how the loopback address is called, where it listens there */
  #urlBy(loopback: 'localhost' | '127.0.0.1'): string {
    const { host } = (this.#workerEntry?.config ?? {}) as { readonly host?: string };
    return `${this.#hasTls ? 'wss' : 'ws'}://${reachableAt(host, this.#workerPort, loopback)}`;
  }

  /** The main worker port: the first one listed. */
  get #workerEntry(): WorkerEntry | undefined {
    return this.#applied.find((each) => each.canonical === 'iii-worker-manager');
  }

  get #hasTls(): boolean {
    const config = this.#workerEntry?.config as { readonly tls?: unknown } | undefined;
    return config?.tls !== undefined && config.tls !== null;
  }

  get #workerPort(): number {
    const entry = this.#workerEntry;
    const port = this.#ports.get(entry?.id ?? 'iii-worker-manager');
    if (port === undefined)
      throw new TrineError('engine_not_running', 'the engine has no port yet: call start() first');
    return port;
  }

  /**
   * Starts everything that the configuration lists; the worker port opens last.
   *
   * @throws TrineError naming what could not start and what to do; everything that had started is
   *   stopped again
   */
  start(): Promise<void> {
    if (this.#state === 'stopping' || this.#state === 'stopped') {
      return Promise.reject(
        new TrineError('engine_stopped', 'a stopped engine does not start again: create another one'),
      );
    }
    this.#starting ??= this.#start();
    return this.#starting;
  }

  /**
   * A worker inside this process. The same name twice is the same worker, until it is shut down.
   *
   * @param name - shown by discovery and logs
   */
  worker(name: string): EmbeddedWorker {
    let worker = this.#embedded.get(name);
    if (worker === undefined || worker.closed) this.#embedded.set(name, (worker = new EmbeddedWorker(this.core, name)));
    return worker;
  }

  /**
   * Stops in reverse order. New connections, HTTP requests and jobs end at once; calls, jobs and requests
   * that run may finish until the deadline, and connected workers are served until then. What still runs is
   * cut off, its jobs are delivered again by the next engine without a charge. Then connections (Close 1012),
   * then the files. What was acknowledged is on disk. Afterwards nothing keeps the process alive.
   * Idempotent; a later call with an earlier deadline shortens the wait.
   */
  stop({ drainMs = this.#drainMs }: StopOptions = {}): Promise<void> {
    this.#drain.endWithin(drainMs);
    if (this.#state !== 'stopped') this.#state = 'stopping';
    // A start under way gives up at its next step and takes back what it had started.
    this.#stopping ??= (this.#starting ?? Promise.resolve()).catch(() => undefined).then(() => this.#halt());
    return this.#stopping;
  }

  async #start(): Promise<void> {
    this.#state = 'starting';
    const reload = this.#log.for('iii::reload');
    try {
      const host = this.#builtIns.host(OWN_FUNCTIONS);
      registerWorkerFunction(this.core, host);
      registerChannelFunction(this.core, host);
      this.#discovery = startDiscovery(host, {
        core: this.core,
        version: ENGINE_VERSION,
        builtIns: () => [ownFunctions(host), ...this.#builtIns.list()],
        latestMetrics: (workerId) => this.telemetry.gauges.latest(workerId),
      });
      for (const warning of this.project.current.warnings) this.#log.warn(warning);
      const wanted = [...this.#withAlwaysOn(this.project.current.entries)].sort(byStartOrder);
      // Each port finds the kept triggers in place when it opens.
      await this.#discovery.restore();
      for (const together of inSteps(wanted)) {
        this.#checkStarting();
        await this.#startTogether(together);
      }
      this.#checkStarting();
      const supervised = this.project.supervised({
        port: () => this.#workerPort,
        url: () => this.#urlBy('localhost'),
        entries: () => this.#applied,
      });
      if (supervised !== undefined) {
        await this.#builtIns.start({ id: SUPERVISOR, name: SUPERVISOR, config: {} }, supervisorWorker(supervised));
      }
      await this.project.watch((error) => reload.error(`reload: ${refusal(error)}`));
      if (this.project.current.file !== undefined) reload.info(`reload: watching ${this.project.current.file}`);
      this.#checkStarting();
      this.#state = 'running';
    } catch (error) {
      this.#state = 'stopping';
      await this.#halt();
      throw error;
    }
  }

  #checkStarting(): void {
    if (this.#state !== 'starting') throw new TrineError('engine_stopped', 'the engine was stopped while it started');
  }

  /** @throws TrineError with the reasons of all that failed, once each has started or failed */
  async #startTogether(entries: readonly WorkerEntry[]): Promise<void> {
    const started = await Promise.allSettled(entries.map((entry) => this.#startBuiltIn(entry)));
    entries.forEach((entry, i) => {
      if (started[i]?.status === 'fulfilled') this.#applied.push(entry);
    });
    const [first, ...others] = started.flatMap((each) =>
      each.status === 'rejected' ? [each.reason as TrineError] : [],
    );
    if (first === undefined) return;
    const also = others.map(({ message }) => `\n${message}`).join('');
    throw also === '' ? first : new TrineError(first.code, `${first.message}${also}`, { cause: first });
  }

  async #startEntry(entry: WorkerEntry): Promise<void> {
    await this.#startBuiltIn(entry);
    this.#applied.push(entry);
  }

  async #startBuiltIn(entry: WorkerEntry): Promise<void> {
    const definition = entry.canonical === undefined ? undefined : this.#workers.get(entry.canonical);
    if (definition !== undefined) await this.#builtIns.start(entry, definition);
  }

  /**
   * Brings what runs in line with another configuration. Each entry is applied by itself: one that
   * fails keeps what it had.
   *
   * @internal
   * @throws NotAppliedError naming the entries that could not be applied
   */
  apply(next: ProjectConfig): Promise<void> {
    const applied = this.#applying.then(() => this.#apply(next));
    this.#applying = applied.catch(() => undefined);
    return applied;
  }

  async #apply(next: ProjectConfig): Promise<void> {
    if (this.#state !== 'running' && this.#state !== 'starting') return;
    const before: ProjectConfig = { ...next, entries: this.#applied };
    const { added, removed, changed, unchanged } = diffProjects(before, {
      ...next,
      entries: this.#withAlwaysOn(next.entries),
    });
    const refused = new Map<string, string>();
    const done: string[] = [];
    const attempt = async (what: string, entry: WorkerEntry, step: () => Promise<void>): Promise<boolean> => {
      try {
        await step();
        done.push(`${what} ${entry.name}`);
        return true;
      } catch (error) {
        refused.set(entry.id, `${entry.name}: ${toErrorBody(error).message}`);
        return false;
      }
    };
    for (const entry of removed) {
      await attempt('removed', entry, () => this.#builtIns.stop(entry.id));
      this.#applied = this.#applied.filter((each) => each !== entry);
    }
    for (const { before: old, after } of changed) {
      if (await attempt('changed', after, () => this.#change(after)))
        this.#applied = this.#applied.map((each) => (each === old ? after : each));
      // It could not be started again as it was either: the next reload starts it anew.
      else if (!this.#builtIns.has(after.id)) this.#applied = this.#applied.filter((each) => each !== old);
    }
    for (const entry of [...added].sort(byStartOrder)) await attempt('added', entry, () => this.#startEntry(entry));
    // As many as the file lists: what runs in any case is not its reader's concern.
    const listed = unchanged.filter(({ id }) => next.entries.some((entry) => entry.id === id));
    const counts = `+${added.length} added, -${removed.length} removed, ~${changed.length} changed, =${listed.length} unchanged`;
    this.#log.for('iii::reload').info(`reload: diff ${counts}`);
    this.project.applied();
    if (refused.size > 0) {
      const before = (entry: WorkerEntry): WorkerEntry[] => this.#applied.filter(({ id }) => id === entry.id);
      const entries = next.entries.flatMap((entry) => (refused.has(entry.id) ? before(entry) : [entry]));
      throw new NotAppliedError({ ...next, entries }, refused, done);
    }
    this.#log.for('iii::reload').info('reload: success');
  }

  /** The entries of a configuration with those that run whether listed or not. */
  #withAlwaysOn(entries: readonly WorkerEntry[]): WorkerEntry[] {
    const missing = [...ALWAYS_ON].filter((name) => !entries.some((entry) => entry.canonical === name));
    const defaults = missing.map((name): WorkerEntry => {
      const config = this.#workers.get(name)?.config.parse({});
      return { id: name, name, canonical: name, config, rawConfig: undefined, workerPath: undefined, line: undefined };
    });
    return [...entries, ...defaults];
  }

  async #change(entry: WorkerEntry): Promise<void> {
    if (this.#workers.has(entry.canonical ?? '')) await this.#builtIns.change(entry);
  }

  #halt(): Promise<void> {
    this.#halted ??= this.#takeDown();
    return this.#halted;
  }

  async #takeDown(): Promise<void> {
    await this.project.close();
    await this.#applying;
    await this.#builtIns.drain();
    await this.#drain.wait();
    await this.#builtIns.stop(SUPERVISOR);
    this.core.bindings.close();
    await this.#builtIns.stopAll();
    for (const session of [...this.core.sessions()]) await this.core.close(session);
    this.core.channels.stop();
    this.core.router.stop();
    await this.#discovery?.stop();
    await this.#storage.stop();
    this.#state = 'stopped';
  }
}

/** The worker that the engine's own functions belong to. */
const OWN_FUNCTIONS = 'iii-engine-functions';

function ownFunctions({ session }: BuiltInHost): BuiltInInfo {
  return {
    id: OWN_FUNCTIONS,
    name: OWN_FUNCTIONS,
    description: 'Discovery, and the functions by which workers describe themselves.',
    connectedAtMs: session.connectedAtMs,
    internal: true,
    sessionId: session.id,
  };
}

/** What runs the local workers: started last, since they connect at once. */
const SUPERVISOR = 'iii-worker-ops';

function refusal(error: ConfigError | NotAppliedError): string {
  if (!(error instanceof NotAppliedError) || error.applied.length === 0)
    return `refused, what ran before runs on: ${error.message}`;
  return `applied in part (${error.applied.join(', ')}); refused, and as it was before: ${error.message}`;
}

function byStartOrder(a: WorkerEntry, b: WorkerEntry): number {
  return START_ORDER.indexOf(a.canonical ?? '') - START_ORDER.indexOf(b.canonical ?? '');
}

/** Entries in start order, those that start at once together. */
function inSteps(entries: readonly WorkerEntry[]): WorkerEntry[][] {
  const steps: WorkerEntry[][] = [];
  for (const entry of entries) {
    const last = steps.at(-1);
    const isWith = STARTED_AT_ONCE.has(entry.canonical ?? '') && STARTED_AT_ONCE.has(last?.[0]?.canonical ?? '');
    if (last !== undefined && isWith) last.push(entry);
    else steps.push([entry]);
  }
  return steps;
}
