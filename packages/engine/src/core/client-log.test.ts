import { FakeClock } from '@trine/testing';
import { describe, expect, it } from 'vitest';
import { FAULT_WINDOW_MS, ClientLog, MAX_FAULT_LINES } from './client-log.js';
import { silentLog, type Log } from './log.js';

describe('lines about one client', () => {
  it('are logged, then counted, and logged again in the next window', async () => {
    const lines: [string, unknown][] = [];
    const log: Log = { ...silentLog, warn: (message, fields) => void lines.push([message, fields]) };
    const clock = new FakeClock();
    const faults = new ClientLog(clock, MAX_FAULT_LINES);
    for (let n = 0; n < 1_000; n++) faults.write('warn', log, 'w', 'bad frame', { n });
    expect(lines).toHaveLength(MAX_FAULT_LINES + 1);
    expect(lines.at(-1)?.[0]).toMatch(/more are counted/);
    await clock.advance(FAULT_WINDOW_MS);
    faults.write('warn', log, 'w', 'bad frame', { n: 1_000 });
    expect(lines.slice(MAX_FAULT_LINES + 1)).toEqual([
      ['lines about a worker were not logged', { worker: 'w', count: 1_000 - MAX_FAULT_LINES }],
      ['bad frame', { n: 1_000 }],
    ]);
    faults.end(log, 'w');
    expect(lines).toHaveLength(MAX_FAULT_LINES + 3);
  });
});
