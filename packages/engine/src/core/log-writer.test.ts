import { afterEach, describe, expect, it, vi } from 'vitest';
import { createLog, type LogOptions, type LogOutput } from './log-writer.js';

const AT = new Date(2026, 0, 2, 0, 5, 6, 7).getTime();

function open(options: Omit<LogOptions, 'stream'> & { readonly tty?: boolean } = {}): {
  log: LogOutput;
  writes: string[];
} {
  const writes: string[] = [];
  const log = createLog({ ...options, stream: { write: (text) => writes.push(text), isTTY: options.tty ?? false } });
  return { log, writes };
}

describe('log', () => {
  afterEach(() => vi.unstubAllEnvs());

  it('writes an entry for people: local 12-hour time, level, target, message, a line per field', () => {
    const { log, writes } = open();
    const fields = {
      worker_id: 'adf4',
      nested: { list: [1, { yes: true }], empty: [] },
      n: 1.5,
      none: null,
      absent: undefined,
    };
    log.record({ timeMs: AT, level: 'info', target: 'link', message: 'Worker registered', fields });
    log.record({ timeMs: AT + 12 * 3_600_000, level: 'warn', target: 'link', message: 'again' });
    expect(writes).toEqual([
      [
        '[12:05:06.007 AM] [INFO] link Worker registered',
        '    ├ worker_id: "adf4"',
        '    ├ nested:',
        '        ├ list:',
        '            ├ 0: 1',
        '            └ 1:',
        '                └ yes: true',
        '        └ empty: []',
        '    ├ n: 1.5',
        '    └ none: null',
        '',
      ].join('\n'),
      '[12:05:06.007 PM] [WARN] link again\n',
    ]);
  });

  it('writes one whole JSON object per line in the json format', () => {
    const { log, writes } = open({ format: 'json' });
    log.for('iii::function').error('went wrong\nhere', { code: 7, message: 'shadowed' });
    expect(writes).toHaveLength(1);
    expect(writes[0]).toMatch(/^\{.*\}\n$/);
    expect(JSON.parse(writes[0] as string)).toEqual({
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/) as string,
      level: 'ERROR',
      target: 'iii::function',
      fields: { message: 'went wrong\nhere', code: 7 },
    });
  });

  it('drops what is below the level, which can change at any time, as can the format', () => {
    const { log, writes } = open();
    const part = log.for('part');
    part.debug('hidden');
    log.setLevel('debug');
    part.debug('shown');
    log.setFormat('json');
    part.info('shown');
    log.setLevel('silent');
    part.error('hidden');
    expect(writes.map((line) => line.includes('shown'))).toEqual([true, true]);
    expect([log.level, log.format]).toEqual(['silent', 'json']);
  });

  it('redacts values by the name of their field, at any depth, and credentials in addresses', () => {
    const { log, writes } = open({ format: 'json' });
    log.info('call', {
      Authorization: 'Bearer 1',
      'set-cookie': ['a'],
      accessToken: 'x',
      tokens: 12,
      deep: { list: [{ 'api-key': 'y', client_secret: { a: 1 } }] },
      url: 'postgres://me:hunter2@host/db',
    });
    expect((JSON.parse(writes[0] as string) as { fields: unknown }).fields).toEqual({
      message: 'call',
      Authorization: '[redacted]',
      'set-cookie': '[redacted]',
      accessToken: '[redacted]',
      tokens: 12,
      deep: { list: [{ 'api-key': '[redacted]', client_secret: '[redacted]' }] },
      url: 'postgres://***@host/db',
    });
  });

  it('lets no text forge an entry, move the cursor or turn its direction', () => {
    const { log, writes } = open();
    log.record({
      timeMs: AT,
      level: 'info',
      target: 'a\n[b]',
      message: 'one\r\n[12:00:00.000 AM] [ERROR] fake\u001b[2J\u0007\u202e\u2028!',
      fields: { 'na\nme': 'x\ny\u001b[31m' },
    });
    expect(writes[0]).toBe(
      '[12:05:06.007 AM] [INFO] a [b] one\n      [12:00:00.000 AM] [ERROR] fake!\n    └ na me: "x\\ny"\n',
    );
  });

  it('does bounded work for any value', () => {
    const { log, writes } = open({ format: 'json' });
    const circular: Record<string, unknown> = { name: 'c' };
    circular['self'] = circular;
    let deep: unknown = 1;
    for (let i = 0; i < 1_000; i++) deep = { deep };
    const wide = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`k${i}`, { i }]));
    const hostile = Object.defineProperty({}, 'boom', {
      enumerable: true,
      get: () => {
        throw new Error('no');
      },
    });
    log.info('x'.repeat(100_000), {
      circular,
      deep,
      hostile,
      wide,
      many: Array(5_000).fill(1),
      big: 10n,
      bytes: Buffer.alloc(9),
      error: new Error('why'),
      run: () => 1,
    });
    const line = writes[0] as string;
    expect(line.length).toBeLessThan(20_000);
    expect((JSON.parse(line) as { fields: unknown }).fields).toMatchObject({
      circular: { name: 'c', self: '[circular]' },
      hostile: { boom: '[unreadable]' },
      wide: { k0: { i: 0 }, '…': '9936 more' },
      big: '10',
      bytes: '<9 bytes>',
      error: 'why',
    });
  });

  it('colours a terminal only, and not where NO_COLOR is set', () => {
    vi.stubEnv('NO_COLOR', '');
    const coloured = open({ tty: true });
    coloured.log.info('m');
    expect(coloured.writes[0]).toContain('\u001b[');
    const piped = open();
    piped.log.info('m');
    vi.stubEnv('NO_COLOR', '1');
    const plain = open({ tty: true });
    plain.log.info('m');
    expect(piped.writes[0]).not.toContain('\u001b[');
    expect(plain.writes[0]).not.toContain('\u001b[');
  });
});
