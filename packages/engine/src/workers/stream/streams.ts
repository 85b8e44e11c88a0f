/**
 * The streams of this engine: each operation goes to the function of a custom stream or to the storage,
 * and every change is told to the sockets and triggers.
 *
 * Events of one item keep the order of the commits: every write emits in the first step after its
 * adapter's answer.
 */
import { Payload } from '@trine/protocol';
import type { RawInput } from '../../core/raw-input.js';
import type { HandlerContext, Registration, WorkerHost } from '../../core/worker-host.js';
import type { RemoteContext } from '../../remote/index.js';
import type { UpdateOp } from '../../values/index.js';
import type { Address, Change, SentEvent, Snapshot, StreamAdapter, UpdateChange } from './adapters/index.js';
import { askCustom, customFunction, writeCustom } from './custom.js';
import { streamError } from './errors.js';
import { changeBody, customBody, wrapperText, type StreamEvent } from './event.js';

/** How long the first read of a subscription may take where a worker serves it, in milliseconds. */
const SNAPSHOT_TIMEOUT_MS = 10_000;

const NO_CONTEXT: RemoteContext = { traceparent: undefined, baggage: undefined };

export interface StreamListener {
  emit(event: StreamEvent): void;
}

export class Streams {
  readonly #host: WorkerHost;
  readonly #listeners: readonly StreamListener[];
  #adapter: StreamAdapter;
  /** Who waits for events of a stream; on another adapter they are bound again. */
  readonly #watches = new Set<{ readonly stream: string; registration: Registration | undefined }>();

  constructor(host: WorkerHost, adapter: StreamAdapter, listeners: readonly StreamListener[]) {
    this.#host = host;
    this.#adapter = adapter;
    this.#listeners = listeners;
  }

  /** Another storage from here on; the one before ends when what is under way on it has. */
  async move(adapter: StreamAdapter): Promise<void> {
    const before = this.#adapter;
    this.#adapter = adapter;
    for (const watch of this.#watches) {
      watch.registration?.remove();
      watch.registration = adapter.remote?.watch(watch.stream);
    }
    await before.close();
  }

  close(): Promise<void> {
    return this.#adapter.close();
  }

  /** Events of this stream are wanted from now on. */
  watch(stream: string): Registration {
    const watch = { stream, registration: this.#adapter.remote?.watch(stream) };
    this.#watches.add(watch);
    return {
      remove: () => {
        if (this.#watches.delete(watch)) watch.registration?.remove();
      },
    };
  }

  get(at: Address, context: HandlerContext): Payload | undefined | Promise<Payload | undefined> {
    const custom = customFunction(this.#host, 'get', at.stream);
    if (custom !== undefined) return this.#ask(custom, context, 'get');
    const value = this.#adapter.get(at, context);
    if (typeof value === 'string') return Payload.fromJson(value);
    return value?.then(payloadOf, (error: unknown) => {
      throw streamError('get', error);
    });
  }

  set(at: Address, value: string, context: HandlerContext): Promise<UpdateChange> {
    const custom = customFunction(this.#host, 'set', at.stream);
    const change =
      custom === undefined ? this.#adapter.set(at, value, context) : writeCustom(this.#host, custom, context, 'set');
    return change.then(
      (done) => this.#written(at, { value, errors: [], ...done }, context, custom !== undefined),
      (error: unknown) => {
        throw streamError('set', error);
      },
    );
  }

  update(at: Address, ops: readonly UpdateOp[], context: HandlerContext): Promise<UpdateChange> {
    const custom = customFunction(this.#host, 'update', at.stream);
    const change =
      custom === undefined
        ? this.#adapter.update(at, ops, context)
        : (writeCustom(this.#host, custom, context, 'update') as Promise<UpdateChange>);
    return change.then(
      (done) => this.#written(at, done, context, custom !== undefined),
      (error: unknown) => {
        throw streamError('update', error);
      },
    );
  }

  delete(at: Address, context: HandlerContext): Promise<Change> {
    const custom = customFunction(this.#host, 'delete', at.stream);
    const change =
      custom === undefined ? this.#adapter.delete(at, context) : writeCustom(this.#host, custom, context, 'delete');
    return change.then(
      (done) => {
        const { old, revision } = done;
        if (old !== undefined) this.#tell(at, changeBody('delete', old), revision, context, custom !== undefined);
        return done;
      },
      (error: unknown) => {
        throw streamError('delete', error);
      },
    );
  }

  async list(stream: string, group: string, context: HandlerContext): Promise<Payload | undefined> {
    const custom = customFunction(this.#host, 'list', stream);
    if (custom !== undefined) return this.#ask(custom, context, 'list');
    return failingAs('list', async () => Payload.fromJson(await this.#adapter.list(stream, group, context)));
  }

  async listGroups(stream: string, context: HandlerContext): Promise<Payload | undefined> {
    const custom = customFunction(this.#host, 'list_groups', stream);
    if (custom !== undefined) return this.#ask(custom, context, 'listGroups');
    return failingAs('listGroups', async () => Payload.fromValue(await this.#adapter.listGroups(stream, context)));
  }

  async listAll(context: HandlerContext): Promise<Payload> {
    return failingAs('listAll', async () => {
      const streams = (await this.#adapter.listAll(context)).map(({ id, groups }) => ({
        id,
        groups: [...groups].sort(),
      }));
      return Payload.fromValue({ stream: streams, count: streams.length });
    });
  }

  async send(event: SentEvent, context: HandlerContext): Promise<void> {
    const { remote } = this.#adapter;
    if (remote !== undefined) return failingAs('send', () => remote.send(event, context));
    const { stream, group, item, type, data } = event;
    this.#emit({ stream, group, item }, customBody(type, data), undefined, context);
  }

  /** What a new subscription starts from. */
  async snapshot(stream: string, group: string, item: string | undefined): Promise<Snapshot> {
    const custom = customFunction(this.#host, item === undefined ? 'list' : 'get', stream);
    if (custom === undefined) return this.#adapter.snapshot(stream, group, item);
    const input = { stream_name: stream, group_id: group, ...(item === undefined ? {} : { item_id: item }) };
    const payload = Payload.fromValue(input);
    const result = await askCustom(this.#host, custom, payload, NO_CONTEXT, SNAPSHOT_TIMEOUT_MS);
    return { text: result?.json, revision: undefined };
  }

  #written(at: Address, done: UpdateChange, context: RemoteContext, custom: boolean): UpdateChange {
    const body = changeBody(done.old === undefined ? 'create' : 'update', done.value);
    this.#tell(at, body, done.revision, context, custom);
    return done;
  }

  /** A store that tells of its changes itself tells of this one too; a custom stream never does. */
  #tell(at: Address, body: string, revision: number | undefined, context: RemoteContext, custom: boolean): void {
    if (custom || this.#adapter.remote === undefined) this.#emit(at, body, revision, context);
  }

  #emit(
    at: { readonly stream: string; readonly group: string; readonly item: string | undefined },
    body: string,
    revision: number | undefined,
    { traceparent, baggage }: RemoteContext,
  ): void {
    const { stream, group, item } = at;
    const text = wrapperText(stream, group, item, body, Math.trunc(this.#host.clock.now()));
    const event = { stream, group, item, text, revision, traceparent, baggage };
    for (const listener of this.#listeners) listener.emit(event);
  }

  #ask(
    functionId: string,
    context: HandlerContext,
    failure: 'get' | 'list' | 'listGroups',
  ): Promise<Payload | undefined> {
    return failingAs(failure, () => askCustom(this.#host, functionId, context.payload, context));
  }
}

/** Reads the address that most functions take. */
export function readAddress(input: RawInput): Address {
  return { stream: input.string('stream_name'), group: input.string('group_id'), item: input.string('item_id') };
}

function payloadOf(text: string | undefined): Payload | undefined {
  return text === undefined ? undefined : Payload.fromJson(text);
}

async function failingAs<T>(failure: Parameters<typeof streamError>[0], run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw streamError(failure, error);
  }
}
