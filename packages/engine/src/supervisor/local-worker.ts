/**
 * One local worker: its process, and the states it goes through.
 *
 *     stopped ---start---> installing ---ok---> starting ---session---> running
 *                            |   ^                ^  |  ^----no session----'  |
 *                      fault |   | edit, start    |  '--------exit--------+---'
 *                            v   |                |                       v
 *                          failed'   installing <-'---delay, edit--- backing-off
 *
 *     any of them ---stop---> stopping ---group gone---> stopped
 *
 * - `installing`: reads the manifest and installs what is not installed yet (often nothing).
 * - `starting`: the process runs, and no session of it is connected (yet, or again after a reload).
 * - `running`: a session reports the entry's name, or a pid of the process group.
 * - `failed`: the manifest is wrong or the install failed; waits for an edit or a start by hand.
 * - `backing-off`: the process ended by itself; starts again after 1 s, 2 s, ... 30 s. A process
 *   that was up for 60 s starts the row of delays anew.
 *
 * `#run` is the one owner of the process: everybody else tells it what they want by waking it.
 * `#enter` is the one place where the state changes.
 */
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { Emitter } from '../core/emitter.js';
import type { Log } from '../core/log.js';
import type { WorkerHost } from '../core/worker-host.js';
import { InstallError } from './errors.js';
import { installFingerprint } from './fingerprint.js';
import { install } from './install.js';
import { launch, type Exit, type Launched } from './launch.js';
import { forgetPid, recordPid } from './leftovers.js';
import { groupOf } from './process-group.js';
import type { ProjectFiles } from './project-files.js';
import type { SupervisedEntry, SupervisedProject } from './project.js';
import { planRun, type RunPlan } from './run-plan.js';
import { SourceWatch, type Edit } from './source-watch.js';
import { flattenConfig, refusedKeys, workerEnv } from './worker-env.js';
import { WorkerOutput } from './worker-output.js';

/** First delay before a worker that ended is started again, in milliseconds; doubles with each end in a row. */
export const BACKOFF_MS = 1_000;
/** Longest such delay, in milliseconds. */
export const MAX_BACKOFF_MS = 30_000;
/** A process that was up this long, in milliseconds, has recovered. */
export const RECOVERED_AFTER_MS = 60_000;
/** From this many ends in a row on, status calls it a crash loop. */
export const CRASH_LOOP_EXITS = 3;

export type WorkerState = 'installing' | 'starting' | 'running' | 'stopping' | 'stopped' | 'failed' | 'backing-off';

export interface LocalWorkerStatus {
  readonly state: WorkerState;
  /** Of the process group; undefined while no process runs. */
  readonly pid: number | undefined;
  /** Ends by itself without a recovery in between. */
  readonly exitsInRow: number;
  readonly lastExit: Exit | undefined;
  /** Why it is `failed`: what happened, where, and what the command printed. */
  readonly failure: string | undefined;
  /** Milliseconds until the next start, while backing off. */
  readonly nextStartInMs: number | undefined;
}

export interface LocalWorkerOptions {
  readonly host: WorkerHost;
  readonly project: Pick<SupervisedProject, 'port' | 'url' | 'configPath'>;
  readonly files: ProjectFiles;
  readonly name: string;
  readonly folder: string;
  readonly config: unknown;
}

export class LocalWorker {
  readonly name: string;
  readonly folder: string;
  readonly changed = new Emitter<LocalWorkerStatus>();
  readonly #options: LocalWorkerOptions;
  readonly #log: Log;
  readonly #output: WorkerOutput;
  /** Sessions that may be this worker's: `asking` until their process group is known. */
  readonly #sessions = new Map<string, 'asking' | 'ours'>();
  #config: unknown;
  #state: WorkerState = 'stopped';
  #run: { readonly abort: AbortController; readonly done: Promise<void> } | undefined;
  #process: Launched | undefined;
  #plan: RunPlan | undefined;
  #installed: string | undefined;
  /** The address of the engine that the process was told. */
  #url: string | undefined;
  #wake: () => void = () => undefined;
  /** Somebody wants the process replaced: go round without a delay. */
  #again = false;
  /** The process that runs is the last one. */
  #draining = false;
  #exitsInRow = 0;
  #lastExit: Exit | undefined;
  #failure: string | undefined;
  #nextStartAt: number | undefined;
  #startedAt = 0;
  /** Since when it is waited for: its start, or the loss of its connection. */
  #awaitedSince = 0;

  constructor(options: LocalWorkerOptions) {
    this.#options = options;
    this.name = options.name;
    this.folder = options.folder;
    this.#config = options.config;
    this.#log = options.host.log;
    this.#output = new WorkerOutput(options.files, options.name, options.host.log.for(options.name, 'foreign'));
  }

  get status(): LocalWorkerStatus {
    const { clock } = this.#options.host;
    return {
      state: this.#state,
      pid: this.#process?.pid,
      exitsInRow: this.#exitsInRow,
      lastExit: this.#lastExit,
      failure: this.#failure,
      nextStartInMs: this.#nextStartAt === undefined ? undefined : Math.max(0, this.#nextStartAt - clock.monotonic()),
    };
  }

  /** Starts it, or ends its waiting when it failed or backs off. Does nothing when it runs. */
  async start(): Promise<void> {
    if (this.#state === 'stopping') await this.#run?.done;
    if (this.#draining) return;
    if (this.#run === undefined) {
      this.#exitsInRow = 0;
      const abort = new AbortController();
      this.#run = { abort, done: this.#live(abort.signal) };
    } else if (this.#state === 'failed' || this.#state === 'backing-off') {
      this.#exitsInRow = 0;
      this.#wake();
    }
  }

  /** Lets the process run until it ends or is stopped, and starts none after it. */
  drain(): void {
    this.#draining = true;
    if (this.#process === undefined) void this.stop();
  }

  /** SIGTERM to its processes, SIGKILL after 3 s. Resolves when they are gone. It stays stopped until `start`. */
  async stop(): Promise<void> {
    const run = this.#run;
    if (run === undefined) return;
    if (!run.abort.signal.aborted) {
      this.#enter('stopping');
      run.abort.abort();
      this.#wake();
      void this.#process?.stop();
    }
    await run.done;
  }

  /**
   * Takes what the configuration says now. Its `config:` block and the address of the engine are part
   * of the environment, so a change of either restarts it.
   */
  reconfigure(entry: Pick<SupervisedEntry, 'rawConfig'>): void {
    const before = flattenConfig(this.#config);
    this.#config = entry.rawConfig;
    if (!isDeepStrictEqual(before, flattenConfig(entry.rawConfig))) this.#replace('its configuration changed');
    else if (this.#process !== undefined && this.#url !== this.#options.project.url())
      this.#replace('the address of the engine changed');
  }

  /** A session of the engine connected or told who it is. */
  async sessionSeen(session: {
    readonly workerId: string;
    readonly name: string | undefined;
    readonly pid: number | undefined;
  }): Promise<void> {
    const running = this.#process;
    if (running === undefined || this.#sessions.get(session.workerId) === 'ours') return;
    this.#sessions.set(session.workerId, 'asking');
    const isOurs =
      session.name === this.name || (session.pid !== undefined && (await groupOf(session.pid)) === running.pid);
    // It may have left, and the process may have ended, meanwhile.
    if (this.#process !== running || this.#sessions.get(session.workerId) !== 'asking') return;
    if (!isOurs) {
      this.#sessions.delete(session.workerId);
      return;
    }
    this.#sessions.set(session.workerId, 'ours');
    if (this.#state === 'starting') this.#enter('running');
  }

  sessionGone(workerId: string): void {
    if (this.#sessions.get(workerId) === undefined) return;
    this.#sessions.delete(workerId);
    if (this.#state === 'running' && ![...this.#sessions.values()].includes('ours')) this.#enter('starting');
  }

  /** Never rejects: what goes wrong becomes a state. */
  async #live(signal: AbortSignal): Promise<void> {
    const watch = new SourceWatch(this.folder, (edit) => void this.#edited(edit));
    while (!signal.aborted) {
      this.#again = false;
      try {
        this.#enter('installing');
        await this.#prepare(signal);
        if (this.#again) continue;
        if (!signal.aborted) await this.#spawn();
      } catch (error) {
        if (signal.aborted) break;
        this.#fail(error);
        await this.#woken(signal);
        continue;
      }
      const exit = await this.#ended(signal);
      if (this.#draining) break;
      if (exit === undefined || this.#again || signal.aborted) continue;
      await this.#backOff(exit, signal);
    }
    await watch.close();
    await this.#output.flush();
    this.#run = undefined;
    this.#exitsInRow = 0;
    this.#enter('stopped');
  }

  async #prepare(signal: AbortSignal): Promise<void> {
    const { files, host } = this.#options;
    const plan = await planRun(this.folder);
    this.#plan = plan;
    const deprecated = plan.manifest?.deprecated ?? [];
    if (deprecated.length > 0 && process.env['III_NO_DEPRECATION_WARN'] === undefined) {
      this.#log.warn('the manifest has deprecated keys', { worker: this.name, keys: deprecated.join(', ') });
    }
    const refused = refusedKeys(this.#config);
    if (refused.keys.length > 0)
      this.#log.warn('these keys of the configuration cannot become variables', { worker: this.name, ...refused });
    this.#installed = await install({
      folder: this.folder,
      plan,
      marker: files.installMarker(this.name),
      env: this.#env(plan, randomUUID()),
      signal,
      line: (stream, text) => this.#output.line(stream, text),
      command: (command) => {
        this.#output.separate(`install ${new Date(host.clock.now()).toISOString()}: ${command}`);
        this.#log.info('installing worker', { worker: this.name, command });
      },
    });
  }

  async #spawn(): Promise<void> {
    const { host, files } = this.#options;
    const plan = this.#plan;
    if (plan === undefined) throw new Error('a worker is started before it is planned');
    // Not from the host's randomness, which a seeded simulation repeats: this tells runs of several engines apart.
    const runId = randomUUID();
    this.#url = this.#options.project.url();
    const process_ = await launch({
      script: plan.start,
      cwd: this.folder,
      env: this.#env(plan, runId),
      line: (stream, text) => this.#output.line(stream, text),
    });
    this.#process = process_;
    this.#startedAt = host.clock.monotonic();
    this.#output.separate(`run ${new Date(host.clock.now()).toISOString()} pid ${process_.pid}: ${plan.start}`);
    this.#enter('starting');
    this.#log.info('worker started', { worker: this.name, pid: process_.pid, command: plan.start });
    await recordPid(files, { name: this.name, pid: process_.pid, runId, now: host.clock.now() }).catch(
      (error: unknown) => {
        this.#log.warn('the pid of a worker could not be recorded', { worker: this.name, error: String(error) });
      },
    );
  }

  /** Waits for the end of the process, which a stop or a replacement may ask for. */
  async #ended(signal: AbortSignal): Promise<Exit | undefined> {
    const running = this.#process;
    if (running === undefined) return undefined;
    // Asked for while the process was being made.
    if (signal.aborted || this.#again) void running.stop();
    const exit = await running.exited;
    this.#process = undefined;
    this.#sessions.clear();
    await forgetPid(this.#options.files, this.name).catch(() => undefined);
    this.#output.separate(`ended ${describeExit(exit)}`);
    return exit;
  }

  async #backOff(exit: Exit, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options.host;
    if (clock.monotonic() - this.#startedAt >= RECOVERED_AFTER_MS) this.#exitsInRow = 0;
    this.#exitsInRow++;
    this.#lastExit = exit;
    const delayMs = Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** Math.min(this.#exitsInRow - 1, 30));
    this.#nextStartAt = clock.monotonic() + delayMs;
    this.#enter('backing-off');
    const fields = {
      worker: this.name,
      exit: describeExit(exit),
      ends_in_a_row: this.#exitsInRow,
      next_start_in_ms: delayMs,
    };
    if (this.#exitsInRow === CRASH_LOOP_EXITS) this.#log.error('worker is in a crash loop; its log says why', fields);
    else this.#log.warn('worker ended by itself; it is started again', fields);
    const timer = clock.setTimer(() => this.#wake(), delayMs);
    await this.#woken(signal);
    timer.cancel();
    this.#nextStartAt = undefined;
  }

  #fail(error: unknown): void {
    const command = `iii worker start ${this.name}`;
    const next = `correct it and save, or run: ${command}`;
    if (error instanceof InstallError) {
      const output = error.output.join('\n');
      const hint = error.hint === undefined ? '' : `\n${error.hint}`;
      this.#failure = `install failed: ${error.message}\n${output}${hint}`;
      this.#enter('failed');
      this.#log.error('worker could not be installed; the engine and the other workers run on', {
        worker: this.name,
        folder: this.folder,
        command: error.command,
        failure: error.message,
        output,
        next: error.hint === undefined ? next : `${error.hint}, then run: ${command}`,
      });
      return;
    }
    this.#failure = error instanceof Error ? error.message : String(error);
    this.#enter('failed');
    this.#log.error('worker could not be started; the engine and the other workers run on', {
      worker: this.name,
      reason: this.#failure,
      next,
    });
  }

  async #edited(edit: Edit): Promise<void> {
    switch (this.#state) {
      case 'failed':
      case 'backing-off':
        this.#wake();
        return;
      case 'installing':
        this.#again = true;
        return;
      case 'starting':
      case 'running': {
        // Package managers write lock files during an install: those are in the fingerprint already.
        const isStale = edit.dependencies && (await installFingerprint(this.folder)) !== this.#installed;
        if (isStale) this.#replace('its manifest or dependency files changed');
        else if (edit.sources && this.#plan?.watchesItself === false) this.#replace('its sources changed');
        return;
      }
      case 'stopping':
      case 'stopped':
    }
  }

  /** Ends the process and starts it again at once; before that, it is installed again where needed. */
  #replace(reason: string): void {
    switch (this.#state) {
      case 'starting':
      case 'running':
        if (this.#draining) return;
        if (!this.#again) this.#log.info('restarting worker', { worker: this.name, reason });
        this.#again = true;
        void this.#process?.stop();
        return;
      case 'installing':
        this.#again = true;
        return;
      case 'failed':
      case 'backing-off':
        this.#wake();
        return;
      case 'stopping':
      case 'stopped':
    }
  }

  /** Waits until somebody wakes the run or stops it. */
  async #woken(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = () => undefined;
  }

  #env(plan: RunPlan, runId: string): Record<string, string> {
    const { project } = this.#options;
    return workerEnv({
      base: process.env,
      name: this.name,
      url: project.url(),
      configPath: project.configPath,
      runId,
      manifestEnv: plan.manifest?.env ?? {},
      config: this.#config,
      venv: plan.venv,
    });
  }

  #enter(state: WorkerState): void {
    // A stop is final: what was under way when it came may not take it back.
    if (this.#state === 'stopping' && state !== 'stopped') return;
    if (state !== 'failed' && state !== 'stopping' && state !== 'stopped') this.#failure = undefined;
    const before = this.#state;
    this.#state = state;
    const now = this.#options.host.clock.monotonic();
    if (state === 'starting') this.#awaitedSince = now;
    if (state === 'running') {
      const afterMs = Math.round(now - this.#awaitedSince);
      this.#log.info('worker ready', { worker: this.name, pid: this.#process?.pid, after_ms: afterMs });
    }
    if (before !== state) this.changed.emit(this.status);
  }
}

export function describeExit(exit: Exit): string {
  return exit.signal === undefined ? `with exit code ${exit.code}` : `by ${exit.signal}`;
}
