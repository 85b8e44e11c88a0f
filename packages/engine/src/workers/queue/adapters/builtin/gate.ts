/**
 * Holds the broker up while what it remembers may differ from what is on disk: a commit that ended with
 * an error of the disk may be kept or not, and only the file that is open again can say.
 *
 *   open     -> doubtful   an operation was told that the file failed. Nothing is leased any more; operations
 *                          go on to the store, which refuses them, and ends are tried again
 *   open, doubtful -> ending     the file is open again: what comes now waits, what is under way ends
 *   ending   -> reading    nothing is under way: memory is built anew from the disk. Running jobs keep their leases
 *   reading  -> open       built: what waited goes on, in the order in which it came
 *   reading  -> ending     the file was opened once more meanwhile
 *   reading  -> doubtful   the file failed again meanwhile, and is not open yet
 *   any      -> stopped    what waited goes on to the store, which takes it or is closed
 */
import { TrineError } from '@trine/protocol';

const DEGRADED = 'storage_degraded';

export class Gate {
  #state: 'open' | 'doubtful' | 'ending' | 'reading' | 'stopped' = 'open';
  #underWay = 0;
  #waiting: (() => void)[] = [];
  #onIdle: (() => void) | undefined;
  /** The file was opened again, and memory was not built since. */
  #mustRead = false;
  /** The file failed and is not open again. */
  #hasFailed = false;
  /** How often an operation was told that the file failed. */
  faults = 0;
  /** How often the file was opened again. */
  reopens = 0;

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** What keeps the broker up. */
  get reason(): string | undefined {
    if (this.#state === 'doubtful') return 'the storage file failed: jobs wait until it is open again';
    if (this.#state === 'ending' || this.#state === 'reading')
      return 'the storage file had failed and is open again: what it kept is being read';
    return undefined;
  }

  /** Runs an operation: at once, or after memory was built anew. Hot path. */
  run<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#state === 'ending' || this.#state === 'reading') {
      return new Promise<T>((resolve, reject) => {
        this.#waiting.push(() => void this.run(operation).then(resolve, reject));
      });
    }
    this.enter();
    const { reopens } = this;
    const result = operation();
    result.then(this.#succeeded, (error: unknown) => {
      this.failed(error, reopens);
      this.leave();
    });
    return result;
  }

  /** Something that must not meet a change of memory begins. */
  enter(): void {
    this.#underWay++;
  }

  leave(): void {
    if (--this.#underWay > 0) return;
    this.#onIdle?.();
    this.#onIdle = undefined;
  }

  /**
   * An operation failed. If the file did, what is on disk is not known, until it is open again.
   *
   * @param since - `reopens` when the operation began: if the file was opened since, memory is built after it anyway
   */
  failed(error: unknown, since: number): void {
    if (!(error instanceof TrineError) || error.code !== DEGRADED) return;
    this.faults++;
    if (since !== this.reopens) return;
    this.#hasFailed = true;
    if (this.#state === 'open') this.#state = 'doubtful';
  }

  /** The file is open again. @param rebuild - builds memory from what the disk has. Resolves when the gate is open. */
  async reopened(rebuild: () => Promise<void>): Promise<void> {
    this.reopens++;
    this.#hasFailed = false;
    this.#mustRead = true;
    if (this.#state !== 'open' && this.#state !== 'doubtful') return;
    while (this.#mustRead) {
      this.#mustRead = false;
      this.#state = 'ending';
      if (this.#underWay > 0) await new Promise<void>((go) => (this.#onIdle = go));
      if (this.#isStopped) return;
      this.#state = 'reading';
      await rebuild();
      if (this.#isStopped) return;
    }
    this.#state = this.#hasFailed ? 'doubtful' : 'open';
    this.#goOn();
  }

  stop(): void {
    this.#state = 'stopped';
    this.#goOn();
  }

  get #isStopped(): boolean {
    return this.#state === 'stopped';
  }

  readonly #succeeded = (): void => this.leave();

  #goOn(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go();
  }
}
