import { FakeClock } from '@trine/testing';
import { describe, expect, it } from 'vitest';
import type { PendingCall } from './pending-call.js';
import { SpanRing } from './span-ring.js';
import type { Outcome } from './worker-host.js';

const START = Date.UTC(2026, 0, 1);
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const OK: Outcome = { ok: true, result: undefined };

describe('the ring of calls', () => {
  const clock = new FakeClock(START);
  const ring = (): SpanRing =>
    new SpanRing({ clock, random: { uuid: () => '', hex: (n) => 'ab'.repeat(n), float: () => 0 } });
  const call = (functionId: string, extra: { traceparent?: string; kind?: string } = {}): PendingCall =>
    ({
      owner: { id: functionId, session: { kind: extra.kind ?? 'remote', label: 'server' } },
      caller: { label: 'client' },
      traceparent: extra.traceparent,
      startedMs: clock.monotonic(),
    }) as unknown as PendingCall;
  const end = (
    into: SpanRing,
    functionId: string,
    extra: { traceparent?: string; kind?: string } = {},
    outcome = OK,
  ): void => into.ended(call(functionId, extra), outcome, clock.monotonic());
  const ids = (of: SpanRing): string[] => [...of.records()].map(({ functionId }) => functionId);

  it('keeps who called what, when, and how it ended', async () => {
    const calls = ring();
    const begun = call('a::b', { traceparent: `00-${TRACE}-00f067aa0ba902b7-01` });
    const at = clock.now();
    await clock.advance(5);
    calls.ended(
      begun,
      { ok: false, error: { code: 'E', message: 'm'.repeat(600) }, cause: 'handler' },
      clock.monotonic(),
    );
    end(calls, 'state::get', { kind: 'engine' });
    expect([...calls.records()]).toEqual([
      {
        traceId: TRACE,
        spanId: 'abab000000000000',
        parentSpanId: '00f067aa0ba902b7',
        functionId: 'a::b',
        caller: 'client',
        executor: 'server',
        builtIn: false,
        startedAtMs: at,
        endedAtMs: at + 5,
        error: { code: 'E', message: `${'m'.repeat(512)}… (88 more characters)` },
      },
      expect.objectContaining({
        traceId: `${'ab'.repeat(10)}000000000001`,
        parentSpanId: undefined,
        builtIn: true,
        error: undefined,
      }),
    ]);
  });

  it('starts a trace of its own where the trace context cannot be read', () => {
    const calls = ring();
    for (const traceparent of [
      '',
      'x',
      `00-${TRACE}`,
      `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
      `zz-${TRACE}-00f067aa0ba902b7-01`,
      `00-${TRACE}-${'0'.repeat(16)}-01`,
      'é'.repeat(55),
    ])
      end(calls, 'a', { traceparent });
    expect(
      [...calls.records()].every(
        ({ parentSpanId, traceId }) => parentSpanId === undefined && traceId.startsWith('abab'),
      ),
    ).toBe(true);
    expect(new Set([...calls.records()].map(({ traceId }) => traceId)).size).toBe(7);
    // A later version has more fields behind those that are known.
    end(calls, 'later', { traceparent: `01-${TRACE}-00F067AA0BA902B7-01-more` });
    expect([...calls.records()].at(-1)).toMatchObject({ traceId: TRACE, parentSpanId: '00f067aa0ba902b7' });
  });

  it('keeps the newest calls only, over several sizes', () => {
    const calls = ring();
    calls.resize(2_500);
    for (let n = 0; n < 6_000; n++) end(calls, `f${n}`);
    expect(calls.size).toBe(2_500);
    expect(ids(calls)).toEqual(Array.from({ length: 2_500 }, (_, n) => `f${n + 3_500}`));
    calls.resize(3);
    expect(ids(calls)).toEqual(['f5997', 'f5998', 'f5999']);
    calls.resize(4);
    end(calls, 'next');
    end(calls, 'last');
    expect(ids(calls)).toEqual(['f5998', 'f5999', 'next', 'last']);
    expect([...calls.records()].at(-1)?.spanId).toBe(`abab${(6_001).toString(16).padStart(12, '0')}`);
    calls.clear();
    expect(calls.size).toBe(0);
    end(calls, 'again');
    expect(ids(calls)).toEqual(['again']);
  });

  it('leaves out who reads telemetry', () => {
    const calls = ring();
    for (const id of [
      'engine::traces::list',
      'engine::logs::list',
      'engine::log::info',
      'engine::baggage::get',
      'engine::health::check',
    ])
      end(calls, id, { kind: 'engine' });
    expect(calls.size).toBe(0);
    end(calls, 'engine::functions::list', { kind: 'engine' });
    end(calls, 'engine::logs::list', { kind: 'remote' });
    expect(calls.size).toBe(2);
  });

  it('records the asked share of calls, and of a trace all or none', () => {
    const calls = ring();
    calls.ratio = 0.25;
    for (let n = 0; n < 1_000; n++) end(calls, 'a');
    expect(calls.size).toBe(250);
    calls.clear();
    let whole = 0;
    for (let n = 0; n < 1_000; n++) {
      const traceparent = `00-${'0'.repeat(8)}${((n * 2_654_435_761) % 2 ** 32).toString(16).padStart(8, '0')}${'1'.repeat(16)}-00f067aa0ba902b7-01`;
      for (let span = 0; span < 3; span++) end(calls, 'a', { traceparent });
      expect(calls.size % 3).toBe(0);
      whole = calls.size / 3;
    }
    expect(whole).toBeGreaterThan(200);
    expect(whole).toBeLessThan(300);
    calls.ratio = 0;
    calls.clear();
    end(calls, 'a');
    expect(calls.size).toBe(0);
  });

  it('follows the wall clock when that is set', async () => {
    const calls = ring();
    clock.jump(-60_000);
    await clock.advance(2_000);
    end(calls, 'a');
    expect([...calls.records()][0]?.endedAtMs).toBe(clock.now());
    clock.jump(60_000);
    await clock.advance(2_000);
    end(calls, 'b');
    expect([...calls.records()][1]?.endedAtMs).toBe(clock.now());
  });
});
