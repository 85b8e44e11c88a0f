/** One life of an engine: the queue worker as it is, on simulated time, storage and router. */
import { Payload } from '@trine/protocol';
import type { Log } from '../../../core/log.js';
import type {
  FunctionDefinition,
  HandlerContext,
  HealthReport,
  RunningWorker,
  TriggerBinding,
  TriggerTypeDefinition,
  UnbindReason,
  WorkerHost,
} from '../../../core/worker-host.js';
import { queueWorker } from '../index.js';
import type { Chance } from './chance.js';
import type { Disk } from './disk.js';
import { Router, type Witness } from './router.js';
import { ProcessClock, type Time } from './time.js';

export class Process {
  readonly clock: ProcessClock;
  readonly disk: Disk;
  readonly router: Router;
  /** What the engine logged as an error. */
  readonly errors: string[] = [];
  readonly #functions = new Map<string, FunctionDefinition>();
  readonly #triggerTypes = new Map<string, TriggerTypeDefinition>();
  readonly #host: WorkerHost;
  #worker: RunningWorker | undefined;
  #health: (() => HealthReport) | undefined;
  isAlive = true;
  isDraining = false;
  isReconfiguring = false;

  constructor(time: Time, disk: Disk, chance: Chance, witness: Witness) {
    this.clock = new ProcessClock(time);
    this.disk = disk;
    this.router = new Router(this.clock, witness);
    const host: Partial<WorkerHost> = {
      entryName: 'queue',
      log: this.#log(),
      clock: this.clock,
      random: chance,
      storage: disk,
      registry: this.router.registry,
      projectDir: '/simulated',
      dataDir: '/simulated/data',
      registerFunction: (definition) => {
        this.#functions.set(definition.id, definition);
        return { remove: () => undefined };
      },
      registerTriggerType: (definition) => {
        this.#triggerTypes.set(definition.id, definition);
        return { remove: () => undefined };
      },
      reportHealth: (report) => {
        this.#health = report;
        return { remove: () => undefined };
      },
      invoke: this.router.invoke as WorkerHost['invoke'],
    };
    this.#host = host as WorkerHost;
  }

  get isReady(): boolean {
    return this.isAlive && this.#worker !== undefined;
  }

  get isHealthy(): boolean {
    return this.#health?.().status === 'healthy';
  }

  async start(config: unknown): Promise<void> {
    const worker = await queueWorker.start(this.#host, queueWorker.config.parse(config));
    if (this.isAlive) this.#worker = worker;
  }

  async reconfigure(config: unknown): Promise<void> {
    await this.#worker?.reconfigure?.(queueWorker.config.parse(config));
  }

  /** A client calls a function of the queue. */
  async call(functionId: string, input: unknown): Promise<unknown> {
    const definition = this.#functions.get(functionId);
    if (definition === undefined) throw new Error(`the queue has no function ${functionId}`);
    const payload = Payload.fromJson(JSON.stringify(input));
    const context: HandlerContext = {
      caller: { workerId: 'client', workerName: 'client', kind: 'remote', sdkVersion: undefined },
      namespace: 'default',
      traceparent: undefined,
      baggage: undefined,
      metadata: undefined,
      payload,
      mayCall: () => true,
    };
    const value = definition.raw === true ? undefined : (definition.request?.parse(input) ?? input);
    const result = await definition.handler(value, context);
    return result instanceof Payload ? result.value : result;
  }

  async bind(trigger: TriggerBinding): Promise<void> {
    await this.#triggerTypes.get(trigger.type)?.bind(trigger);
  }

  async unbind(trigger: TriggerBinding, reason: UnbindReason): Promise<void> {
    await this.#triggerTypes.get(trigger.type)?.unbind(trigger, reason);
  }

  drain(): void {
    this.isDraining = true;
    void this.#worker?.drain?.();
  }

  /** As on SIGTERM, once the deadline of the drain is over. */
  async stop(): Promise<void> {
    if (!this.isDraining) this.drain();
    for (const execution of this.router.executions) this.router.lose(execution);
    await this.#worker?.stop();
    this.die(false);
  }

  /** As by SIGKILL, or as when the power goes. */
  die(powerCut: boolean): void {
    this.isAlive = false;
    this.clock.die();
    this.disk.crash(powerCut);
  }

  #log(): Log {
    const nothing = (): void => undefined;
    const log: Log = {
      trace: nothing,
      debug: nothing,
      info: nothing,
      warn: nothing,
      error: (message, fields) => void this.errors.push(`${message} ${JSON.stringify(fields ?? {})}`),
      for: () => log,
    };
    return log;
  }
}
