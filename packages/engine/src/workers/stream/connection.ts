/**
 * One client on the socket.
 *
 * Its messages are handled strictly one after the other; while one is, nothing more is read from the
 * socket. A join goes `asked` -> `syncing` -> `live`:
 *
 *   asked -> (refused)       a join function said no, or the client has too many subscriptions
 *   asked -> syncing         the subscription is in place; events are held back, the snapshot is read
 *   syncing -> live          the snapshot is sent, then the events that are not in it
 *   live -> syncing          the storage has changed: the snapshot is read again
 *   any -> (gone)            a leave, another join of the same id, or the end of the connection
 *
 * The connection ends once, in `#ended`, whatever ends it.
 */
import type { Socket } from 'node:net';
import type { RawData, WebSocket } from 'ws';
import type { Registration, WorkerHost } from '../../core/worker-host.js';
import type { Snapshot } from './adapters/index.js';
import { readClientMessage, type ClientMessage } from './client-message.js';
import { changeBody, UNAUTHORIZED_BODY, wrapperText, type StreamEvent } from './event.js';
import type { Streams } from './streams.js';
import type { Subscription, Subscriptions } from './subscriptions.js';
import type { JoinTriggers, LeaveTriggers, Visit } from './visit-triggers.js';

/** Subscriptions of one connection. */
export const MAX_SUBSCRIPTIONS = 1_000;
/** Bytes that wait for one client, held-back events included. A client that is further behind is cut off. */
export const MAX_OUTBOUND_BYTES = 16 * 1024 * 1024;
/** While more than this waits for a client, its next message is not handled, in bytes. */
const OUTBOUND_SOFT_BYTES = 1024 * 1024;

/** Close code of a server that cannot go on: clients connect again. */
const CLOSE_INTERNAL_ERROR = 1011;

export interface ConnectionParts {
  readonly host: WorkerHost;
  readonly streams: Streams;
  readonly subscriptions: Subscriptions;
  readonly joins: JoinTriggers;
  readonly leaves: LeaveTriggers;
  readonly onEnd: (connection: StreamConnection) => void;
}

interface HeldEvent {
  readonly event: StreamEvent;
  readonly frame: Buffer;
}

export class StreamConnection {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #parts: ConnectionParts;
  readonly #id: string;
  /** Settles when the socket is closed. */
  readonly closed: Promise<void>;
  /** What the auth function answered with, as JSON. */
  readonly #context: string;
  readonly #members = new Map<string, Member>();
  /** Read and not handled: at most what one chunk of the socket holds, as reading pauses meanwhile. */
  readonly #messages: string[] = [];
  #handling = false;
  #heldBytes = 0;
  #ended = false;
  #misunderstood = false;

  constructor(ws: WebSocket, socket: Socket, context: string, parts: ConnectionParts) {
    this.#ws = ws;
    this.#socket = socket;
    this.#context = context;
    this.#parts = parts;
    this.#id = parts.host.random.uuid();
    socket.setNoDelay(true);
    ws.on('message', (data: RawData) => this.#received((data as Buffer).toString()));
    ws.on('error', (error) => parts.host.log.debug('stream socket failed', { error: error.message }));
    this.closed = new Promise((resolve) => {
      ws.once('close', () => {
        this.#end();
        resolve();
      });
    });
  }

  /** A join is being decided. */
  get isBusy(): boolean {
    return this.#handling;
  }

  close(code: number): void {
    this.#ws.close(code);
    // A client that does not answer the Close keeps nobody waiting.
    setImmediate(() => this.#ws.terminate());
  }

  /** What the client knows may be out of date: it gets all of it anew. */
  resync(): void {
    for (const member of this.#members.values()) void this.#sync(member);
  }

  #received(text: string): void {
    if (text.trim() === '' || this.#ended) return;
    this.#messages.push(text);
    if (!this.#handling) void this.#handleAll();
  }

  async #handleAll(): Promise<void> {
    this.#handling = true;
    this.#ws.pause();
    for (let text = this.#messages.shift(); text !== undefined && !this.#ended; text = this.#messages.shift()) {
      await this.#handle(text);
      await this.#drained();
    }
    this.#handling = false;
    if (!this.#ended) this.#ws.resume();
  }

  /** A client that asks faster than it reads waits for itself. */
  #drained(): Promise<void> {
    if (this.#ws.bufferedAmount <= OUTBOUND_SOFT_BYTES || this.#ended) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        this.#socket.off('drain', done);
        this.#socket.off('close', done);
        resolve();
      };
      this.#socket.on('drain', done);
      this.#socket.on('close', done);
    });
  }

  async #handle(text: string): Promise<void> {
    const message = readClientMessage(text);
    if ('fault' in message) {
      if (!this.#misunderstood)
        this.#parts.host.log.warn('message of a stream client ignored', { error: message.fault });
      this.#misunderstood = true;
    } else if (message.type === 'join') {
      await this.#join(message);
    } else {
      this.#leave(message);
    }
  }

  async #join(message: ClientMessage): Promise<void> {
    const { subscriptionId, stream, group, item } = message;
    const { host, joins } = this.#parts;
    if (this.#members.size >= MAX_SUBSCRIPTIONS && !this.#members.has(subscriptionId)) {
      host.log.warn('stream client has too many subscriptions: the next one is refused', {
        subscriptions: this.#members.size,
        stream,
      });
      this.#refuse(message);
      return;
    }
    const allowed = await joins.mayJoin(this.#visit(message));
    if (this.#ended) return;
    if (!allowed) {
      this.#refuse(message);
      return;
    }
    this.#remove(subscriptionId);
    const member = new Member(message, this, this.#parts.streams.watch(stream));
    this.#members.set(subscriptionId, member);
    this.#parts.subscriptions.add(member);
    host.log.debug('stream client joined', { stream, group, id: item });
    await this.#sync(member);
  }

  #refuse({ stream, group, item }: ClientMessage): void {
    this.#send(Buffer.from(wrapperText(stream, group, item, UNAUTHORIZED_BODY, this.#now)));
  }

  #leave(message: ClientMessage): void {
    this.#remove(message.subscriptionId);
    this.#parts.leaves.left(this.#id, this.#visit(message));
  }

  /** Reads what there is, sends it, then what happened meanwhile. */
  async #sync(member: Member): Promise<void> {
    const { stream, group, item } = member;
    const held: HeldEvent[] = [];
    this.#dropHeld(member);
    member.held = held;
    let snapshot: Snapshot;
    try {
      snapshot = await this.#parts.streams.snapshot(stream, group, item);
    } catch (error) {
      if (member.held !== held || this.#ended) return;
      this.#parts.host.log.warn('stream client cut off: its group cannot be read', {
        stream,
        group,
        error: (error as Error).message,
      });
      this.close(CLOSE_INTERNAL_ERROR);
      return;
    }
    // It has left, or is being read again.
    if (member.held !== held || this.#ended) return;
    const data = snapshot.text ?? (item === undefined ? '[]' : 'null');
    this.#dropHeld(member);
    this.#send(Buffer.from(wrapperText(stream, group, item, changeBody('sync', data), this.#now)));
    for (const { event, frame } of held) if (!isIn(snapshot, event)) this.#send(frame);
  }

  /** An event for one of the subscriptions. */
  deliver(member: Member, event: StreamEvent, frame: Buffer): void {
    if (member.held === undefined) {
      this.#send(frame);
      return;
    }
    member.held.push({ event, frame });
    this.#heldBytes += frame.length;
    if (this.#waitingBytes > MAX_OUTBOUND_BYTES) this.#cut();
  }

  #send(frame: Buffer): void {
    if (this.#ended || this.#ws.readyState !== this.#ws.OPEN) return;
    // Looked at before: one snapshot may be larger than what may wait.
    if (this.#waitingBytes > MAX_OUTBOUND_BYTES) this.#cut();
    else this.#ws.send(frame, { binary: false });
  }

  #cut(): void {
    if (this.#ended || this.#ws.readyState === this.#ws.CLOSED) return;
    this.#parts.host.log.warn('stream client cut off: it does not read', { waiting_bytes: this.#waitingBytes });
    this.#ws.terminate();
    this.#end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#messages.length = 0;
    for (const [subscriptionId, member] of [...this.#members]) {
      this.#remove(subscriptionId);
      this.#parts.leaves.left(this.#id, this.#visit(member.message));
    }
    this.#parts.onEnd(this);
  }

  #remove(subscriptionId: string): void {
    const member = this.#members.get(subscriptionId);
    if (member === undefined) return;
    this.#members.delete(subscriptionId);
    this.#parts.subscriptions.remove(member);
    this.#dropHeld(member);
    member.watch.remove();
  }

  #dropHeld(member: Member): void {
    for (const { frame } of member.held ?? []) this.#heldBytes -= frame.length;
    member.held = undefined;
  }

  #visit({ subscriptionId, stream, group, item }: ClientMessage): Visit {
    return { subscriptionId, stream, group, item, context: this.#context };
  }

  get #waitingBytes(): number {
    return this.#ws.bufferedAmount + this.#heldBytes;
  }

  get #now(): number {
    return Math.trunc(this.#parts.host.clock.now());
  }
}

class Member implements Subscription {
  readonly stream: string;
  readonly group: string;
  readonly item: string | undefined;
  /** Events that wait for the snapshot; undefined = live. */
  held: HeldEvent[] | undefined;

  constructor(
    readonly message: ClientMessage,
    private readonly connection: StreamConnection,
    readonly watch: Registration,
  ) {
    this.stream = message.stream;
    this.group = message.group;
    this.item = message.item;
  }

  take(event: StreamEvent, frame: Buffer): void {
    this.connection.deliver(this, event, frame);
  }
}

/** Is the write that an event tells of in the snapshot already? */
function isIn(snapshot: Snapshot, event: StreamEvent): boolean {
  return snapshot.revision !== undefined && event.revision !== undefined && event.revision <= snapshot.revision;
}
