/**
 * The ends of a channel inside this process, with the shape they have in the official SDKs: a Node stream
 * for bytes, callbacks for text. An end is taken when it is first used.
 */
import { Readable, Writable } from 'node:stream';
import { ErrorCode, TrineError } from '@trine/protocol';
import { CHANNEL_UNIT_BYTES, type AbortReason, type Channel, type ChannelSink, type ChannelSource } from './channel.js';

/** The write end of a channel. */
export class ChannelWriter implements ChannelSource {
  readonly #channel: Channel;
  #isTaken = false;
  #isPaused = false;
  /** Who waits for room. */
  #waiting: (() => void)[] = [];
  /** Bytes. Its `write` waits for room in the channel; `end` ends the channel, `destroy` aborts it. */
  readonly stream: Writable;

  constructor(channel: Channel) {
    this.#channel = channel;
    this.stream = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        if (!this.#take()) return done(unavailable(channel));
        let goesOn = true;
        for (let at = 0; at < chunk.length; at += CHANNEL_UNIT_BYTES)
          goesOn = channel.write(chunk.subarray(at, at + CHANNEL_UNIT_BYTES), false);
        if (goesOn || channel.isOver) done();
        else this.#waiting.push(done);
      },
      final: (done) => {
        if (this.#take()) channel.end();
        done();
      },
      destroy: (error, done) => {
        if (this.#isTaken && !channel.hasEnded) channel.abort('writer_lost');
        done(error);
      },
    });
    // An aborted channel must not end the process of those who do not listen; a pipeline hears of it all the same.
    this.stream.on('error', () => undefined);
  }

  /**
   * Sends one text message. False = the channel is full: this one is kept, more should wait for `ready()`.
   *
   * @throws TrineError `channel_unavailable`
   */
  sendMessage(text: string): boolean {
    if (!this.#take()) throw unavailable(this.#channel);
    return this.#channel.write(Buffer.from(text), true);
  }

  /** Resolves when the channel takes more, or is over. */
  ready(): Promise<void> {
    if (!this.#isPaused || this.#channel.isOver) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Ends the channel: what was written is delivered, then the reader sees the end. */
  close(): void {
    this.stream.end();
  }

  /** For the channel. */
  pause(): void {
    this.#isPaused = true;
  }

  /** For the channel. */
  resume(): void {
    this.#isPaused = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const goOn of waiting) goOn();
  }

  /** For the channel. */
  abort(reason: AbortReason): void {
    if (!this.stream.destroyed) this.stream.destroy(aborted(reason));
    this.resume();
  }

  #take(): boolean {
    if (!this.#isTaken) this.#isTaken = this.#channel.takeWriter(this);
    return this.#isTaken;
  }
}

/** The read end of a channel. */
export class ChannelReader implements ChannelSink {
  readonly #channel: Channel;
  #isTaken = false;
  readonly #listeners: ((text: string) => void)[] = [];
  /** Binary messages. It ends when the writer has ended, and fails when the channel was aborted. */
  readonly stream: Readable;

  constructor(channel: Channel) {
    this.#channel = channel;
    this.stream = new Readable({
      read: () => this.#pull(),
      destroy: (error, done) => {
        if (this.#isTaken) channel.abort('reader_gone');
        done(error);
      },
    });
    this.stream.on('error', () => undefined); // as in the writer
  }

  /** Calls back with each text message, in order with the bytes of `stream`, which has to be read as well. */
  onMessage(listener: (text: string) => void): void {
    this.#listeners.push(listener);
    this.#pull();
  }

  /** All bytes until the end. Text messages go to `onMessage`. */
  async readAll(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of this.stream) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  }

  /** Leaves: the writer is told. */
  close(): void {
    this.stream.destroy();
  }

  /** For the channel. */
  deliver(data: Buffer, isText: boolean): boolean {
    if (!isText) return this.stream.push(data);
    const text = data.toString();
    for (const listener of this.#listeners) listener(text);
    return true;
  }

  /** For the channel. */
  end(): void {
    this.stream.push(null);
  }

  /** For the channel. */
  abort(reason: AbortReason): void {
    if (!this.stream.destroyed) this.stream.destroy(aborted(reason));
  }

  #pull(): void {
    if (!this.#isTaken) {
      this.#isTaken = this.#channel.takeReader(this);
      if (!this.#isTaken) {
        this.stream.destroy(unavailable(this.#channel));
        return;
      }
    }
    this.#channel.pull();
  }
}

/** Both ends of a channel that was just made, and their refs for payloads. */
export interface ChannelPair {
  readonly writer: ChannelWriter;
  readonly reader: ChannelReader;
  readonly writerRef: ReturnType<Channel['ref']>;
  readonly readerRef: ReturnType<Channel['ref']>;
}

export function channelPair(channel: Channel): ChannelPair {
  return {
    writer: new ChannelWriter(channel),
    reader: new ChannelReader(channel),
    writerRef: channel.ref('write'),
    readerRef: channel.ref('read'),
  };
}

function unavailable(channel: Channel): TrineError {
  return new TrineError(
    ErrorCode.channelUnavailable,
    `this end of channel ${channel.id} was taken before, or the channel is over: each end can be taken once`,
  );
}

function aborted(reason: AbortReason): TrineError {
  return new TrineError(ErrorCode.channelAborted, `the channel ended before its end: ${reason}`);
}
