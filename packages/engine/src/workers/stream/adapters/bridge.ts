/**
 * Streams that another engine keeps. Every operation is a call of its `stream::*` functions with the
 * context of the caller; events come from `stream` triggers bound there, one for each stream that
 * somebody here listens to, so changes made by others are seen too and each is told once.
 *
 * Over the wire null and no value are one for `old_value`. Events of the time without a connection are
 * not seen: after a reconnect `onReset` has every subscription read again.
 */
import { memberText, Payload, TrineError } from '@trine/protocol';
import type { Registration, WorkerHost } from '../../../core/worker-host.js';
import { RemoteEngine, type IncomingCall, type RemoteContext } from '../../../remote/index.js';
import { updateOpsText, type UpdateOp, type UpdateOpError } from '../../../values/index.js';
import { wrapperText, type StreamEvent } from '../event.js';
import type { Address, Change, SentEvent, Snapshot, StreamAdapter, StreamSummary, UpdateChange } from './index.js';

export interface BridgeOptions {
  /** The other engine's worker port; it may come later. */
  readonly url: string;
  readonly onEvent: (event: StreamEvent) => void;
  readonly onReset: () => void;
}

export function openBridge(host: WorkerHost, options: BridgeOptions): StreamAdapter {
  return new BridgeAdapter(host, options);
}

/** Without a caller: snapshots are asked for by the engine itself. */
const NO_CONTEXT: RemoteContext = { traceparent: undefined, baggage: undefined };

interface Watch {
  readonly registration: Registration;
  watchers: number;
}

class BridgeAdapter implements StreamAdapter {
  readonly #host: WorkerHost;
  readonly #options: BridgeOptions;
  readonly #remote: RemoteEngine;
  readonly #handlerId: string;
  readonly #watches = new Map<string, Watch>();

  constructor(host: WorkerHost, options: BridgeOptions) {
    const { clock, random, log } = host;
    this.#host = host;
    this.#options = options;
    this.#handlerId = `stream::bridge::on_event::${random.uuid()}`;
    this.#remote = new RemoteEngine({
      url: options.url,
      name: 'iii-stream-bridge',
      clock,
      random,
      log,
      onReconnected: options.onReset,
    });
    this.#remote.registerFunction(this.#handlerId, 'Events of streams for another engine', async (call) => {
      this.#received(call);
      return { ok: true, result: Payload.null };
    });
    this.#remote.open();
  }

  readonly remote = {
    send: async (event: SentEvent, context: RemoteContext): Promise<void> => {
      const { stream, group, item, type, data } = event;
      const id = item === undefined ? {} : { id: JSON.stringify(item) };
      await this.#call('stream::send', { ...groupOf(stream, group), type, data, ...id }, context);
    },

    watch: (stream: string): Registration => {
      let watch = this.#watches.get(stream);
      if (watch === undefined) {
        const registration = this.#remote.registerTrigger('stream', this.#handlerId, { stream_name: stream });
        this.#watches.set(stream, (watch = { registration, watchers: 0 }));
      }
      watch.watchers++;
      const held = watch;
      let released = false;
      return {
        remove: () => {
          if (released) return;
          released = true;
          if (--held.watchers > 0) return;
          this.#watches.delete(stream);
          held.registration.remove();
        },
      };
    },
  };

  get(at: Address, context: RemoteContext): Promise<string | undefined> {
    return this.#call('stream::get', itemOf(at), context);
  }

  async set(at: Address, value: string, context: RemoteContext): Promise<Change> {
    return changeOf('stream::set', await this.#call('stream::set', { ...itemOf(at), data: value }, context));
  }

  async delete(at: Address, context: RemoteContext): Promise<Change> {
    return changeOf('stream::delete', await this.#call('stream::delete', itemOf(at), context));
  }

  async update(at: Address, ops: readonly UpdateOp[], context: RemoteContext): Promise<UpdateChange> {
    const answer = await this.#call('stream::update', { ...itemOf(at), ops: updateOpsText(ops) }, context);
    const change = changeOf('stream::update', answer);
    const errors = notNull(memberText(answer as string, 'errors'));
    return {
      ...change,
      value: memberText(answer as string, 'new_value') ?? 'null',
      errors: errors === undefined ? [] : (JSON.parse(errors) as UpdateOpError[]),
    };
  }

  async list(stream: string, group: string, context: RemoteContext): Promise<string> {
    return (await this.#call('stream::list', groupOf(stream, group), context)) ?? '[]';
  }

  async listGroups(stream: string, context: RemoteContext): Promise<readonly string[]> {
    const answer = await this.#call('stream::list_groups', { stream_name: JSON.stringify(stream) }, context);
    return answer === undefined ? [] : (JSON.parse(answer) as string[]);
  }

  async listAll(context: RemoteContext): Promise<readonly StreamSummary[]> {
    const answer = await this.#call('stream::list_all', {}, context);
    const streams = answer === undefined ? undefined : memberText(answer, 'stream');
    return streams === undefined ? [] : (JSON.parse(streams) as StreamSummary[]);
  }

  async snapshot(stream: string, group: string, item: string | undefined): Promise<Snapshot> {
    const text =
      item === undefined
        ? await this.list(stream, group, NO_CONTEXT)
        : await this.get({ stream, group, item }, NO_CONTEXT);
    return { text, revision: undefined };
  }

  async close(): Promise<void> {
    this.#remote.close();
  }

  #received({ payload, traceparent, baggage }: IncomingCall): void {
    const { streamName, groupId, id } = payload.value as Record<string, unknown>;
    const body = memberText(payload.json, 'event');
    if (typeof streamName !== 'string' || typeof groupId !== 'string' || body === undefined) {
      this.#host.log.warn('event of another engine is none: ignored', { url: this.#remote.url });
      return;
    }
    const timestamp = Number(memberText(payload.json, 'timestamp'));
    const item = typeof id === 'string' ? id : undefined;
    const at = Number.isSafeInteger(timestamp) ? timestamp : this.#host.clock.now();
    this.#options.onEvent({
      stream: streamName,
      group: groupId,
      item,
      text: wrapperText(streamName, groupId, item, body, at),
      revision: undefined,
      traceparent,
      baggage,
    });
  }

  /** @returns the raw text of the result; undefined = none */
  async #call(
    functionId: string,
    members: Readonly<Record<string, string>>,
    { traceparent, baggage, metadata }: RemoteContext,
  ): Promise<string | undefined> {
    const outcome = await this.#remote.invoke({
      functionId,
      payload: Payload.fromMembers(members),
      context: { traceparent, baggage, metadata },
    });
    if (!outcome.ok) throw new TrineError(outcome.error.code, outcome.error.message);
    return outcome.result?.json;
  }
}

function groupOf(stream: string, group: string): { stream_name: string; group_id: string } {
  return { stream_name: JSON.stringify(stream), group_id: JSON.stringify(group) };
}

function itemOf({ stream, group, item }: Address): Record<string, string> {
  return { ...groupOf(stream, group), item_id: JSON.stringify(item) };
}

function changeOf(functionId: string, answer: string | undefined): Change {
  if (answer === undefined || !answer.startsWith('{'))
    throw new Error(`${functionId} of the other engine answered with something else than an object`);
  return { old: notNull(memberText(answer, 'old_value')), revision: undefined };
}

function notNull(text: string | undefined): string | undefined {
  return text === 'null' ? undefined : text;
}
