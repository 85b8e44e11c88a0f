import { FakeClock, waitFor } from '@trine/testing';
import { describe, expect, it } from 'vitest';
import { CHANNEL_UNIT_BYTES, type AbortReason, type Channel, type ChannelSink, type ChannelSource } from './channel.js';
import { Channels, MAX_CHANNELS_PER_SESSION, OWNER_GONE_GRACE_MS, STALE_CHANNEL_MS } from './channels.js';
import { Core } from './core.js';
import { LocalSession } from './local-session.js';
import { silentLog } from './log.js';
import { systemRandom } from './random.js';

/** A reader that takes so many messages and then waits. */
class Sink implements ChannelSink {
  readonly got: string[] = [];
  bytes = 0;
  credit = Infinity;
  how: string | undefined;

  deliver(data: Buffer, isText: boolean): boolean {
    this.bytes += data.length;
    this.got.push(`${isText ? 't' : 'b'}:${data.length > 8 ? data.length : data.toString()}`);
    return --this.credit > 0;
  }

  end(): void {
    this.how = 'end';
  }

  abort(reason: AbortReason): void {
    this.how = reason;
  }
}

class Source implements ChannelSource {
  paused = false;
  readers = 0;
  how: string | undefined;

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  readerTaken(): void {
    this.readers++;
  }

  abort(reason: AbortReason): void {
    this.how = reason;
  }
}

function bed(bounds: ConstructorParameters<typeof Channels>[2] = {}): {
  clock: FakeClock;
  channels: Channels;
  owner: LocalSession;
  make: (bufferUnits?: number) => { channel: Channel; source: Source; sink: Sink };
} {
  const clock = new FakeClock();
  const core = new Core({ clock, random: systemRandom, log: silentLog });
  const channels = new Channels(clock, systemRandom, bounds);
  const owner = new LocalSession(core, 'local', 'owner');
  return {
    clock,
    channels,
    owner,
    make: (bufferUnits) => ({
      channel: channels.create(owner, { bufferUnits }),
      source: new Source(),
      sink: new Sink(),
    }),
  };
}

const text = (value: string): [Buffer, boolean] => [Buffer.from(value), true];
const bytes = (value: string | number): [Buffer, boolean] => [
  typeof value === 'number' ? Buffer.alloc(value) : Buffer.from(value),
  false,
];

describe('a channel', () => {
  it('keeps order, kind and boundaries, also of what is written before anybody reads', () => {
    const { make, channels } = bed();
    const { channel, source, sink } = make();
    channel.takeWriter(source);
    channel.write(...text('a'));
    channel.write(...bytes('bc'));
    channel.takeReader(sink);
    expect(sink.got).toEqual([]);
    channel.pull();
    channel.write(...bytes(''));
    channel.write(...text('d'));
    expect(sink.got).toEqual(['t:a', 'b:bc', 'b:', 't:d']);
    expect([source.readers, channels.bufferedBytes]).toEqual([1, 0]);
  });

  it('ends for the reader once everything is taken, and is gone then', () => {
    const { make, channels } = bed();
    const { channel, source, sink } = make();
    channel.takeWriter(source);
    channel.write(...text('a'));
    channel.write(...text('b'));
    channel.end();
    channel.takeReader(sink);
    sink.credit = 1;
    channel.pull();
    expect([sink.got, sink.how, channels.size]).toEqual([['t:a'], undefined, 1]);
    channel.pull();
    expect([sink.got, sink.how, channels.size]).toEqual([['t:a', 't:b'], 'end', 0]);
    expect([source.how, channels.open(channel.id, channel.key)]).toEqual([undefined, undefined]);
  });

  it('gives each end away once', () => {
    const { make } = bed();
    const { channel, source, sink } = make();
    expect([channel.takeWriter(source), channel.takeWriter(new Source())]).toEqual([true, false]);
    expect([channel.takeReader(sink), channel.takeReader(new Sink())]).toEqual([true, false]);
  });

  it('pauses the writer when the buffer is full, and lets it go on when half of it is free', () => {
    const { make } = bed();
    const { channel, source, sink } = make(1);
    channel.takeWriter(source);
    channel.takeReader(sink);
    const half = CHANNEL_UNIT_BYTES / 2;
    expect(channel.write(...bytes(half))).toBe(true);
    expect(channel.write(...bytes(half))).toBe(false);
    expect(source.paused).toBe(true);
    channel.write(...bytes(10)); // what was on its way is kept
    sink.credit = 1;
    channel.pull();
    expect(source.paused).toBe(true);
    sink.credit = 1;
    channel.pull();
    expect([source.paused, sink.got]).toEqual([false, [`b:${half}`, `b:${half}`]]);
  });

  it('counts messages too: empty ones fill it as well', () => {
    const { make } = bed();
    const { channel, source } = make(1);
    channel.takeWriter(source);
    let written = 0;
    while (!source.paused && written < 10_000) {
      channel.write(...text(''));
      written++;
    }
    expect(written).toBe(1024);
  });

  it('tells both ends why it was aborted, once, and drops what is written then', () => {
    const { make, channels } = bed();
    const { channel, source, sink } = make();
    channel.takeWriter(source);
    channel.write(...text('lost'));
    channel.takeReader(sink);
    channel.abort('reader_gone');
    channel.abort('owner_gone');
    expect(channel.write(...text('more'))).toBe(false);
    expect([source.how, sink.how, channels.bufferedBytes, channels.size]).toEqual(['reader_gone', 'reader_gone', 0, 0]);
  });

  it('holds one unit when all channels together hold too much', () => {
    const { make } = bed({ pooledBytes: 3 * CHANNEL_UNIT_BYTES });
    const [greedy, other] = [make(64), make(64)];
    greedy.channel.takeWriter(greedy.source);
    other.channel.takeWriter(other.source);
    for (let i = 0; i < 4; i++) greedy.channel.write(...bytes(CHANNEL_UNIT_BYTES));
    expect(greedy.source.paused).toBe(true);
    other.channel.write(...bytes(CHANNEL_UNIT_BYTES));
    expect(other.source.paused).toBe(true);
  });
});

describe('a writer that cannot stand still', () => {
  const SPILL = 40 * CHANNEL_UNIT_BYTES;

  it('fills a file, and the reader gets memory and file in order', async () => {
    const { make, channels } = bed({ spillBytes: SPILL });
    const { channel, source, sink } = make(1);
    channel.takeWriter(source);
    channel.takeReader(sink);
    sink.credit = 0;
    const sent: string[] = [];
    // Several times around the ring, with sizes that cross its edge anywhere.
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 60; i++) {
        const size = 9 + ((i * 7_919 + round) % 43_000);
        sent.push(`b:${size}`);
        void channel.writeAside(...bytes(size));
      }
      expect(channel.spilledBytes).toBeGreaterThan(0);
      while (sink.got.length < sent.length) {
        const before = sink.got.length;
        sink.credit = 7;
        channel.pull();
        await waitFor(() => sink.got.length > before);
      }
    }
    channel.end();
    await waitFor(() => sink.how);
    expect([sink.got, sink.how, channel.spilledBytes, channels.size]).toEqual([sent, 'end', 0, 0]);
    expect(source.paused).toBe(false);
  });

  it('is resumed only when the file is empty', async () => {
    const { make } = bed({ spillBytes: SPILL });
    const { channel, source, sink } = make(1);
    channel.takeWriter(source);
    channel.takeReader(sink);
    for (let i = 0; i < 3; i++) void channel.writeAside(...bytes(CHANNEL_UNIT_BYTES));
    expect([source.paused, channel.spilledBytes > 0]).toEqual([true, true]);
    sink.credit = Infinity;
    channel.pull();
    await waitFor(() => !source.paused);
    expect([channel.spilledBytes, sink.bytes]).toEqual([0, 3 * CHANNEL_UNIT_BYTES]);
    channel.write(...text('after'));
    expect(sink.got.at(-1)).toBe('t:after');
    channel.end();
    expect(sink.how).toBe('end');
  });

  it('is cut when the file is full', () => {
    const { make } = bed({ spillBytes: SPILL });
    const { channel, source, sink } = make(1);
    channel.takeWriter(source);
    channel.takeReader(sink);
    for (let i = 0; i < 45; i++) void channel.writeAside(...bytes(CHANNEL_UNIT_BYTES));
    expect([source.how, sink.how]).toEqual(['reader_stalled', 'reader_stalled']);
  });
});

describe('the table of channels', () => {
  it('opens with id and key, and with nothing else', () => {
    const { make, channels } = bed();
    const { channel } = make();
    expect(channels.open(channel.id, channel.key)).toBe(channel);
    for (const [id, key] of [
      [channel.id, ''],
      [channel.id, channel.key.slice(1)],
      [channel.id, `${channel.key.slice(0, -1)}é`],
      [channel.key, channel.key],
      ['', channel.key],
    ] as const)
      expect(channels.open(id, key)).toBeUndefined();
    expect(channel.id).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
  });

  it.each([
    [undefined, 64],
    [0, 1],
    [-5, 1],
    [2.9, 2],
    [100_000, 1024],
  ])('makes of a buffer of %s units one of %s', (asked, units) => {
    expect(bed().make(asked).channel.capacityBytes).toBe(units * CHANNEL_UNIT_BYTES);
  });

  it('removes a channel with an end that nobody took in time, and tells the other', async () => {
    const { make, channels, clock } = bed();
    const [half, whole, none] = [make(), make(), make()];
    half.channel.takeReader(half.sink);
    whole.channel.takeReader(whole.sink);
    whole.channel.takeWriter(whole.source);
    await clock.advance(STALE_CHANNEL_MS - 60_000);
    expect(channels.size).toBe(3);
    await clock.advance(120_000);
    expect([half.sink.how, whole.sink.how, none.channel.isOver, channels.size]).toEqual([
      'never_opened',
      undefined,
      true,
      1,
    ]);
    expect(clock.pending).toBe(0);
  });

  it('ends the channels of an owner who leaves, but delivers what was written whole', async () => {
    const { make, channels, clock, owner } = bed();
    const [written, writing, finishing, idle] = [make(), make(), make(), make()];
    for (const { channel, source } of [written, writing, finishing]) channel.takeWriter(source);
    written.channel.write(...text('all'));
    written.channel.end();
    writing.channel.takeReader(writing.sink);
    finishing.channel.write(...text('last'));
    channels.release(owner);
    expect([idle.channel.isOver, writing.channel.isOver]).toEqual([true, false]);
    finishing.channel.end(); // its socket closes an instant after that of the worker
    await clock.advance(OWNER_GONE_GRACE_MS);
    expect([writing.sink.how, writing.source.how]).toEqual(['owner_gone', 'owner_gone']);
    for (const { channel, sink } of [written, finishing]) {
      channel.takeReader(sink);
      channel.pull();
    }
    expect([written.sink.got, written.sink.how]).toEqual([['t:all'], 'end']);
    expect([finishing.sink.got, finishing.sink.how, channels.size]).toEqual([['t:last'], 'end', 0]);
  });

  it('gives the channels of a client that came back to its new session', () => {
    const { channels, owner, make } = bed();
    const { channel } = make();
    const core = new Core({ clock: new FakeClock(), random: systemRandom, log: silentLog });
    const next = new LocalSession(core, 'local', 'next');
    channels.move(owner, next);
    channels.release(owner);
    expect(channel.isOver).toBe(false);
    channels.release(next);
    expect(channel.isOver).toBe(true);
  });

  it('bounds the channels of one session', () => {
    const { channels, owner, make } = bed();
    const { channel } = make();
    for (let i = 1; i < MAX_CHANNELS_PER_SESSION; i++) channels.create(owner);
    expect(() => channels.create(owner)).toThrow(/4096 channels open/);
    channel.abort('owner_gone');
    expect(channels.create(owner)).toBeDefined();
  });
});
