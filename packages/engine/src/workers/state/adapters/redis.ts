/**
 * State in a Redis that several engines share. Each operation is one script, so Redis itself is what
 * makes it linearizable; nothing is read from memory, for another engine may have written.
 *
 * Keys, all beginning with `{prefix}:state:`
 *
 *   v:SCOPE   hash: key -> value
 *   o:SCOPE   its keys in the order in which they were first set
 *   scopes    scopes that hold a key
 *   ids       numbers for that order
 *
 * An update is computed here and stored only if the value is still the one it was computed from.
 * Updates of one key that come while one is under way are stored together, in their order:
 *
 *   idle -> storing      an update came
 *   storing -> storing   others came meanwhile, or another engine was faster
 *   storing -> idle
 */
import type { WorkerHost } from '../../../core/worker-host.js';
import {
  DEFAULT_PREFIX,
  DEFAULT_REDIS_URL,
  RedisConnection,
  redisScript,
  type RedisHealth,
} from '../../../redis/index.js';
import { applyUpdateOps, compactBytes, type UpdateOp } from '../../../values/index.js';
import { contended, listTooLarge } from '../errors.js';
import { MAX_LIST_LENGTH, type UpdateAnswer } from '../store.js';
import type { StateAdapter } from './index.js';

/** How often another engine may be faster with one key before its updates are refused. */
export const MAX_CONTENDED = 100;
/** Updates that are stored together. */
const MAX_TOGETHER = 256;
/** How long the start waits for a server that is away, in milliseconds. */
const START_WAIT_MS = 5_000;

const NAMES = `
local P, scope = KEYS[1], ARGV[1]
local values, order = P .. 'v:' .. scope, P .. 'o:' .. scope
local call = redis.call
local function put(key, value)
  if call('HSET', values, key, value) == 1 then
    call('ZADD', order, call('INCR', P .. 'ids'), key)
    call('SADD', P .. 'scopes', scope)
  end
end
`;
const GET = redisScript('state-get', `${NAMES} return call('HGET', values, ARGV[2])`, 'read');
const SET = redisScript(
  'state-set',
  `${NAMES}
local before = call('HGET', values, ARGV[2])
put(ARGV[2], ARGV[3])
return before`,
);
const DELETE = redisScript(
  'state-delete',
  `${NAMES}
local before = call('HGET', values, ARGV[2])
if before then
  call('HDEL', values, ARGV[2])
  call('ZREM', order, ARGV[2])
  if call('HLEN', values) == 0 then call('SREM', P .. 'scopes', scope) end
end
return before`,
  'full',
);
/** scope, key, the value it was computed from ('' = none, '=' .. text), the new one. Answers 1, or 0 and what is there. */
const EXCHANGE = redisScript(
  'state-exchange',
  `${NAMES}
local before = call('HGET', values, ARGV[2])
if (before and '=' .. before or '') ~= ARGV[3] then return { 0, before } end
put(ARGV[2], ARGV[4])
return { 1 }`,
);
const LIST = redisScript(
  'state-list',
  `${NAMES}
local found, size = {}, 0
local keys = call('ZRANGE', order, 0, -1)
for i = 1, #keys do
  local value = call('HGET', values, keys[i])
  size = size + #value + 1
  if size > tonumber(ARGV[2]) then return false end
  found[i] = value
end
return found`,
  'read',
);
const SCOPES = redisScript('state-scopes', `return redis.call('SMEMBERS', KEYS[1] .. 'scopes')`, 'read');

export interface RedisStateOptions {
  readonly url?: string | undefined;
  readonly prefix?: string | undefined;
}

/** @throws Error that says what to install, when the driver is missing */
export async function openRedisState(host: WorkerHost, options: RedisStateOptions): Promise<StateAdapter> {
  const connection = await RedisConnection.open({
    url: options.url ?? DEFAULT_REDIS_URL,
    worker: 'state',
    projectDir: host.projectDir,
    log: host.log,
    clock: host.clock,
    scripts: [GET, SET, DELETE, EXCHANGE, LIST, SCOPES],
    durable: true,
  });
  await connection.whenReady(START_WAIT_MS);
  return new RedisStateAdapter(connection, `{${options.prefix ?? DEFAULT_PREFIX}}:state:`);
}

interface Update {
  readonly ops: readonly UpdateOp[];
  readonly maxBytes: number | undefined;
  readonly resolve: (answer: UpdateAnswer) => void;
  readonly reject: (error: unknown) => void;
}

/** Writes of one key, so that their answers come in the order of the commits. */
interface Writes {
  /** Settles after all that were asked for so far. */
  last: Promise<unknown>;
  /** Updates that wait to be stored together; undefined while nobody may join them. */
  joinable: Update[] | undefined;
}

class RedisStateAdapter implements StateAdapter {
  readonly #connection: RedisConnection;
  readonly #base: string;
  readonly #writes = new Map<string, Writes>();

  constructor(connection: RedisConnection, base: string) {
    this.#connection = connection;
    this.#base = base;
  }

  health(): RedisHealth {
    return this.#connection.health();
  }

  async get(scope: string, key: string): Promise<string | undefined> {
    return ((await this.#connection.run(GET, this.#base, [scope, key])) as string | null) ?? undefined;
  }

  set(scope: string, key: string, value: string): Promise<string | undefined> {
    return this.#inTurn(scope, key, async () => {
      return ((await this.#connection.run(SET, this.#base, [scope, key, value])) as string | null) ?? undefined;
    });
  }

  delete(scope: string, key: string): Promise<string | undefined> {
    return this.#inTurn(scope, key, async () => {
      return ((await this.#connection.run(DELETE, this.#base, [scope, key])) as string | null) ?? undefined;
    });
  }

  update(scope: string, key: string, ops: readonly UpdateOp[], maxBytes: number | undefined): Promise<UpdateAnswer> {
    return new Promise((resolve, reject) => {
      const update: Update = { ops, maxBytes, resolve, reject };
      const joinable = this.#writes.get(idOf(scope, key))?.joinable;
      if (joinable !== undefined && joinable.length < MAX_TOGETHER) {
        joinable.push(update);
        return;
      }
      const updates = [update];
      const stored = this.#inTurn(scope, key, () => this.#store(scope, key, updates));
      (this.#writes.get(idOf(scope, key)) as Writes).joinable = updates;
      stored.catch((error: unknown) => {
        for (const each of updates) each.reject(error);
      });
    });
  }

  async list(scope: string): Promise<string> {
    const values = (await this.#connection.run(LIST, this.#base, [scope, MAX_LIST_LENGTH])) as string[] | null;
    if (values === null) throw listTooLarge(scope, MAX_LIST_LENGTH);
    return `[${values.join(',')}]`;
  }

  /** In the order of their bytes, as the kv adapter has them. */
  async listScopes(): Promise<string[]> {
    const scopes = (await this.#connection.run(SCOPES, this.#base, [])) as string[];
    return scopes.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#writes.values()].map(({ last }) => last));
    this.#connection.close();
  }

  /** Runs a write after those of the same key that were asked for before. */
  #inTurn<T>(scope: string, key: string, run: () => Promise<T>): Promise<T> {
    const id = idOf(scope, key);
    const before = this.#writes.get(id);
    const work = before === undefined ? run() : before.last.then(run, run);
    const writes: Writes = { last: work, joinable: undefined };
    this.#writes.set(id, writes);
    const over = (): void => {
      if (this.#writes.get(id) === writes) this.#writes.delete(id);
    };
    work.then(over, over);
    return work;
  }

  /** Stores several updates of one key, each computed from the one before it. */
  async #store(scope: string, key: string, updates: readonly Update[]): Promise<void> {
    let before = await this.get(scope, key);
    for (let tries = 0; tries < MAX_CONTENDED; tries++) {
      // Whoever comes from here on is the next one's.
      const writes = this.#writes.get(idOf(scope, key));
      if (writes?.joinable === updates) writes.joinable = undefined;
      const answers: UpdateAnswer[] = [];
      let now = before;
      for (const { ops, maxBytes } of updates) {
        const answer = updated(now, ops, maxBytes);
        if ('value' in answer) now = answer.value;
        answers.push(answer);
      }
      const [stored, there] =
        now === before
          ? [1]
          : ((await this.#connection.run(EXCHANGE, this.#base, [
              scope,
              key,
              before === undefined ? '' : `=${before}`,
              now ?? '',
            ])) as [number, string | null | undefined]);
      if (stored === 1) {
        for (const [i, { resolve }] of updates.entries()) resolve(answers[i] as UpdateAnswer);
        return;
      }
      before = there ?? undefined;
    }
    throw contended(scope, key, MAX_CONTENDED);
  }
}

function updated(old: string | undefined, ops: readonly UpdateOp[], maxBytes: number | undefined): UpdateAnswer {
  const { value, errors } = applyUpdateOps(old, ops);
  if (maxBytes !== undefined && Buffer.byteLength(value) > maxBytes) {
    const bytes = compactBytes(value);
    if (bytes > maxBytes) return { tooLarge: bytes };
  }
  return { old, value, errors };
}

/** One text per (scope, key); no two pairs share one. */
function idOf(scope: string, key: string): string {
  return `${scope.length}:${scope}${key}`;
}
