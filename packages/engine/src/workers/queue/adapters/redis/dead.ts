/** Dead letters: browsed page by page, moved back, changed, deleted. */
import type { DeadFilter, DeadLetter, DeadPage, DeadQuery, Line, RedriveOptions } from '../index.js';
import { CHUNK, type EndedRow, type RedisCore } from './core.js';
import { optional } from './intake.js';
import { lineFunction, type RedisLine } from './line.js';

interface Candidate {
  readonly line: RedisLine;
  readonly id: string;
  /** Higher = newer, over all lines. */
  readonly number: number;
}

/** function, code, error, time */
type Head = readonly [string | null, string | null, string | null, string | null];
/** Dead letters whose payload is read at once. */
const LETTERS_AT_ONCE = 50;

export class DeadStore {
  readonly #core: RedisCore;

  constructor(core: RedisCore) {
    this.#core = core;
  }

  async browse(lines: readonly RedisLine[], { offset, limit, maxBytes, filter }: DeadQuery): Promise<DeadPage> {
    const filtered = filter !== undefined && Object.values(filter).some((value) => value !== undefined);
    const found = await Promise.all(
      lines.map((line) => (filtered ? this.#matching(line, filter) : this.#newest(line, offset + limit))),
    );
    const total = found.reduce((sum, each) => sum + each.total, 0);
    const page = found
      .flatMap(({ candidates }) => candidates)
      .sort((a, b) => b.number - a.number)
      .slice(offset, offset + limit);
    const letters: DeadLetter[] = [];
    let size = 0;
    for (let i = 0; i < page.length;) {
      const some = page.slice(i, i + LETTERS_AT_ONCE);
      const rows = (await this.#core.run(this.#core.scripts.deadLetters, [
        Math.max(maxBytes, 1),
        ...some.map(({ id }) => id),
      ])) as (string | null)[][];
      for (const [at, row] of rows.entries()) {
        const letter = letterFrom((some[at] as Candidate).line, row);
        if (letter === undefined) continue;
        size += letter.data.length + letter.failures.length;
        if (letters.length > 0 && size > maxBytes) return { letters, total, cut: true };
        letters.push(letter);
      }
      i += rows.length;
    }
    return { letters, total, cut: false };
  }

  /** What is dead-lettered meanwhile is for the next time. */
  async redrive(line: RedisLine, { limit = Infinity, restamp }: RedriveOptions = {}): Promise<number> {
    const core = this.#core;
    let left = Math.min(limit, (await this.#ids(line, 0, 0)).total);
    let redriven = 0;
    while (left > 0) {
      const stamp = restamp === undefined ? [] : [restamp.maxAttempts, restamp.backoffMs];
      const count = (await core.run(core.scripts.redrive, [line.id, Math.min(CHUNK, left), ...stamp])) as number;
      if (count === 0) break;
      redriven += count;
      left -= count;
    }
    return redriven;
  }

  async redriveOne(lines: readonly Line[], id: string, { restamp }: RedriveOptions = {}): Promise<boolean> {
    const stamp = restamp === undefined ? [] : [restamp.maxAttempts, restamp.backoffMs];
    return (await this.#core.run(this.#core.scripts.redriveOne, [...among(lines, id), ...stamp])) === 1;
  }

  async discard(lines: readonly Line[], id: string): Promise<boolean> {
    const answer = await this.#core.run(this.#core.scripts.discard, among(lines, id));
    if (answer === 0) return false;
    const [lineId, row] = answer as [string, EndedRow];
    const line = this.#core.lines.get(lineId);
    if (line !== undefined) this.#core.record(line, row, 'discarded');
    return true;
  }

  async edit(
    lines: readonly Line[],
    id: string,
    { data, functionId }: { readonly data?: string | undefined; readonly functionId?: string | undefined },
  ): Promise<boolean> {
    const args = [...among(lines, id), optional(data), data?.length ?? 0, optional(functionId)];
    return (await this.#core.run(this.#core.scripts.edit, args)) === 1;
  }

  async #newest(line: RedisLine, count: number): Promise<{ candidates: Candidate[]; total: number }> {
    return this.#ids(line, 0, Math.max(0, count - 1));
  }

  /** All that match, so that their number is known. */
  async #matching(line: RedisLine, filter: DeadFilter): Promise<{ candidates: Candidate[]; total: number }> {
    const matching: Candidate[] = [];
    for (let from = 0; ; from += CHUNK) {
      const { candidates } = await this.#ids(line, from, from + CHUNK - 1);
      if (candidates.length > 0) {
        const heads = (await this.#core.run(
          this.#core.scripts.deadHeads,
          candidates.map(({ id }) => id),
        )) as Head[];
        matching.push(...candidates.filter((_, i) => matches(heads[i] as Head, filter)));
      }
      if (candidates.length < CHUNK) return { candidates: matching, total: matching.length };
    }
  }

  async #ids(line: RedisLine, from: number, to: number): Promise<{ candidates: Candidate[]; total: number }> {
    const [flat, total] = (await this.#core.run(this.#core.scripts.deadIds, [line.id, from, to])) as [string[], number];
    const candidates: Candidate[] = [];
    for (let i = 0; i + 1 < flat.length; i += 2) {
      candidates.push({ line, id: flat[i] as string, number: Number(flat[i + 1]) });
    }
    return { candidates, total };
  }
}

function among(lines: readonly Line[], id: string): (string | number)[] {
  return [id, lines.length, ...lines.map((line) => (line as RedisLine).id)];
}

function matches([key, code, error, at]: Head, { functionId, ...filter }: DeadFilter): boolean {
  if (key === null) return false;
  const failedAt = Number(at);
  return (
    (functionId === undefined || lineFunction(key).functionId === functionId) &&
    (filter.code === undefined || filter.code === code) &&
    (filter.error === undefined || (error ?? '').includes(filter.error)) &&
    (filter.since === undefined || failedAt >= filter.since) &&
    (filter.until === undefined || failedAt < filter.until)
  );
}

/** Undefined for one that was moved back or deleted meanwhile. */
function letterFrom(line: RedisLine, row: readonly (string | null)[]): DeadLetter | undefined {
  const [state, jobId, receipt, key, data, attempts, failures, error, code, failedAt] = row;
  if (state !== 'x') return undefined;
  return {
    line,
    jobId: jobId ?? '',
    receipt: receipt ?? '',
    functionId: lineFunction(key ?? '').functionId,
    data: data ?? 'null',
    attempts: Number(attempts),
    failures: failures ?? '[]',
    error: error ?? '',
    code: code ?? '',
    failedAt: Number(failedAt),
  };
}
