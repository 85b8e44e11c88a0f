/** What this engine runs: signs that it lives, and how each job ended. */
import type { Timer } from '../../../../core/clock.js';
import { RedisFailure, type RedisSession } from '../../../../redis/index.js';
import type { Decision } from '../../job.js';
import { MANY_DEAD_LETTERS } from '../rules.js';
import { CHUNK, type RedisCore } from './core.js';
import type { RedisLease, RedisLine } from './line.js';

/** A consumer of a subscription that gave no sign for this long is gone, in milliseconds. */
export const CONSUMER_GONE_MS = 60_000;

export class Leases {
  readonly #core: RedisCore;
  #timer: Timer | undefined;

  constructor(core: RedisCore) {
    this.#core = core;
    this.#renewLater();
  }

  /** Carries out how a delivery ended. Resolves when Redis has it. */
  async settle(lease: RedisLease, decision: Decision): Promise<void> {
    const core = this.#core;
    const { line, job, id, number } = lease;
    const held = [line.id, id, core.engine, number];
    line.leased--;
    let kept: unknown;
    switch (decision.kind) {
      case 'done':
        kept = await core.persist(core.scripts.done, held, lease);
        break;
      case 'release':
        kept = await core.persist(core.scripts.postpone, [...held, decision.delayMs, 0], lease);
        break;
      case 'postpone': {
        const { delayMs, attempts, lost, failures } = decision;
        const text = failures.length === 0 ? '' : JSON.stringify(failures);
        kept = await core.persist(
          core.scripts.postpone,
          [...held, Math.round(delayMs), 0, attempts, lost, text],
          lease,
        );
        Object.assign(job, { attempts, lost, failures, redelivered: true });
        break;
      }
      case 'dead': {
        const { attempts, failures, error, code } = decision;
        const text = JSON.stringify(failures);
        kept = await core.persist(core.scripts.dead, [...held, attempts, text, error, code, core.receiptHead()], lease);
        if (typeof kept === 'number' && kept > 0) this.#countDead(line, kept);
      }
    }
    core.leases.delete(lease);
    if (kept === undefined) return;
    // Where the first answer was lost with the connection, the second one says 0 as well.
    if (kept === 0 && lease.lost) {
      core.host.log.warn(
        'a job ended after its lease: this engine was away from Redis for too long, the job runs again',
        {
          [line.kind === 'queue' ? 'queue' : 'topic']: line.name,
          receipt: job.receipt,
        },
      );
      return;
    }
    if (decision.kind === 'done') core.recordLease(lease, 'done');
  }

  /** The handler answered after its lease had timed out. */
  async finishLate(lease: RedisLease): Promise<boolean> {
    const { scripts, engine } = this.#core;
    const done = await this.#core.persist(scripts.finishLate, [lease.line.id, lease.id, engine, lease.number]);
    if (done !== 1) return false;
    this.#core.recordLease(lease, 'done');
    return true;
  }

  /** After a loss of the connection: what was leased and never heard of goes back. */
  async reclaim(line: RedisLine, session: RedisSession): Promise<void> {
    const core = this.#core;
    const held = [...core.leases].filter((lease) => lease.line === line).map(({ id }) => id);
    await core.run(core.scripts.reclaim, [line.id, core.engine, ...held], session);
  }

  /** Gives everything back without a charge. */
  async releaseAll(): Promise<void> {
    const core = this.#core;
    await Promise.allSettled(
      [...core.leases].map((lease) => {
        const untouched = lease.line.atHand.includes(lease) ? 1 : 0;
        return core.run(core.scripts.postpone, [lease.line.id, lease.id, core.engine, lease.number, 0, untouched]);
      }),
    );
    core.leases.clear();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #renewLater(): void {
    const { host, leaseMs } = this.#core;
    this.#timer = host.clock.setTimer(() => {
      void this.renew();
      this.#renewLater();
    }, leaseMs / 3);
  }

  /** Renews what this engine has. Leases that others have are not renewed: their ends are ignored. */
  async renew(session?: RedisSession): Promise<void> {
    const core = this.#core;
    const lines = [...core.lines.values()].filter(({ consumed }) => consumed).map(({ id }) => id);
    const leases = [...core.leases].filter(({ lost }) => !lost);
    for (let i = 0; i === 0 || i < leases.length; i += CHUNK) {
      const some = leases.slice(i, i + CHUNK);
      const own = i === 0 ? lines : [];
      if (some.length === 0 && own.length === 0) return;
      try {
        const signs = [core.engine, core.leaseMs, CONSUMER_GONE_MS, own.length, ...own];
        const held = some.flatMap(({ line, id, number }) => [line.id, id, number]);
        const lost = (await core.run(core.scripts.renew, [...signs, ...held], session)) as number[];
        for (const at of lost) this.#lose(some[at] as RedisLease);
      } catch (error) {
        if (error instanceof RedisFailure) return;
        throw error;
      }
    }
  }

  #lose(lease: RedisLease): void {
    lease.lost = true;
    const { atHand } = lease.line;
    const at = atHand.indexOf(lease);
    if (at < 0) return;
    atHand.splice(at, 1);
    this.#core.leases.delete(lease);
  }

  #countDead(line: RedisLine, count: number): void {
    if (count < MANY_DEAD_LETTERS) line.warnedDead = false;
    else if (!line.warnedDead) {
      line.warnedDead = true;
      this.#core.host.log.warn(
        'many dead letters: they stay until someone acts. See them with engine::queue::dlq_browse, run them again with iii::queue::redrive or drop them with iii::queue::purge',
        { [line.kind === 'queue' ? 'queue' : 'topic']: line.name, dead_letters: count },
      );
    }
  }
}
