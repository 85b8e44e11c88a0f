/**
 * Stores batches of which none may be stored twice: rows that were stored may have been used up and deleted
 * before anybody asks for them, so to look for them would say nothing. A writer numbers its batches. The
 * server keeps the number of its last one, stored by the same statement as the batch (`trine.batches`).
 *
 * A batch:
 *
 *   sent -> stored      the usual way
 *   sent -> lost        the connection was lost on the way: the server is asked to give it up
 *   lost -> stored      the number says so, and what the server answered stands beside it
 *   lost -> given up    it was not stored and never will be, though its statement may still arrive: it may be
 *                       sent again, as another batch
 *   lost -> undecided   the server was away for too long: an error, and it is not sent again
 *
 * It needs neither transactions over several round trips nor anything that a pooler or a crash of the server
 * would change (process ids, transaction ids).
 */
import { TrineError } from '@trine/protocol';
import type { PgCore } from './core.js';
import { isUnreachable, UNREACHABLE } from './failures.js';
import { statement, type Statement } from './server.js';

/** For so long the server is asked what became of a batch, in milliseconds. */
const ASK_FOR_MS = 5_000;
/** Between two questions, in milliseconds. */
const ASK_AGAIN_MS = 50;
/** A writer that stored nothing for so long is gone, in milliseconds: later than anybody asks. */
const FORGET_AFTER_MS = 86_400_000;

const GIVE_UP = statement('give_up', 'SELECT given_up, answer FROM trine.give_up($1, $2)');
const FORGET = statement('forget_writers', 'DELETE FROM trine.batches WHERE at < trine.now_ms() - $1');

interface Outcome<Answer> {
  readonly given_up: boolean;
  readonly answer: Answer;
}

/** Nobody knows whether it was stored. */
export class Undecided extends TrineError {
  constructor(cause: unknown) {
    const message = `the connection to PostgreSQL was lost, and nobody knows whether this was stored: ${(cause as Error).message}`;
    super(UNREACHABLE, message, { cause, retryable: true });
  }
}

/** One batch after the other: whoever has several at once needs several writers. */
export class Writer {
  readonly #core: PgCore;
  readonly #name: string;
  #batch = 0;

  constructor(core: PgCore) {
    this.#core = core;
    this.#name = core.host.random.uuid();
  }

  /**
   * @param what - `SELECT ... AS answer`, of a function that takes the writer and the number of the batch first
   * @throws TrineError `storage_unreachable`: it was not stored and may be sent again
   * @throws Undecided: it may have been stored
   */
  async store<Answer>(what: Statement, values: readonly unknown[]): Promise<Answer> {
    const batch = ++this.#batch;
    try {
      const [row] = await this.#core.server.query<{ readonly answer: Answer }>(what, [this.#name, batch, ...values]);
      return (row as { readonly answer: Answer }).answer;
    } catch (error) {
      const wasSent = isUnreachable(error) && (error as TrineError).cause !== undefined;
      if (!wasSent) throw error;
      const outcome = await this.#giveUp<Answer>(batch);
      if (outcome === undefined) throw new Undecided(error);
      if (outcome.given_up) throw error;
      return outcome.answer;
    }
  }

  async #giveUp<Answer>(batch: number): Promise<Outcome<Answer> | undefined> {
    const { server, host } = this.#core;
    // Real time: what is waited for is another machine.
    const until = performance.now() + ASK_FOR_MS;
    while (!this.#core.stopped && performance.now() < until) {
      try {
        const [outcome] = await server.query<Outcome<Answer>>(GIVE_UP, [this.#name, batch]);
        return outcome;
      } catch {
        await new Promise<void>((go) => host.clock.setTimer(go, ASK_AGAIN_MS)); // away still
      }
    }
    return undefined;
  }
}

/** Drops the numbers of writers that are gone. */
export async function forgetWriters({ server }: PgCore): Promise<void> {
  await server.query(FORGET, [FORGET_AFTER_MS]);
}
