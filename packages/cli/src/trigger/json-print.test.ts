import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { byBytes, prettySorted } from './json-print.js';

describe('pretty printing', () => {
  test('sorts keys at every depth and indents by two', () => {
    expect(prettySorted('{"url":"u","code":"c","deep":[{"b":1,"a":2}]}')).toBe(
      [
        '{',
        '  "code": "c",',
        '  "deep": [',
        '    {',
        '      "a": 2,',
        '      "b": 1',
        '    }',
        '  ],',
        '  "url": "u"',
        '}',
      ].join('\n'),
    );
  });

  test.each([
    ['[1.0,1e3,-0,12345678901234567890]', '[\n  1.0,\n  1e3,\n  -0,\n  12345678901234567890\n]'],
    ['{"b":[],"a":{}}', '{\n  "a": {},\n  "b": []\n}'],
    [' "x" ', '"x"'],
    ['"\\u00e9\\/\\n"', '"é/\\n"'],
    ['{"a":1,"a":2}', '{\n  "a": 2\n}'],
    ['{"__proto__":1,"10":1,"9":2}', '{\n  "10": 1,\n  "9": 2,\n  "__proto__": 1\n}'],
    ['{"\\"}":"\\\\"}', '{\n  "\\"}": "\\\\"\n}'],
  ])('%s', (json, expected) => {
    expect(prettySorted(json)).toBe(expected);
  });

  test('orders keys by their bytes, not by UTF-16 units', () => {
    const keys = ['\u{1f600}', '\uffee', 'z', 'é'];
    expect([...keys].sort(byBytes)).toEqual(['z', 'é', '\uffee', '\u{1f600}']);
  });

  test('changes no value, and prints what it printed the same again', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat(4), (value, spaces) => {
        const printed = prettySorted(JSON.stringify(value, null, spaces));
        expect(JSON.parse(printed)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(prettySorted(printed)).toBe(printed);
      }),
      { numRuns: 500 },
    );
  });

  test('equals a sorted JSON.stringify for objects whose keys are words', () => {
    const word = fc.stringMatching(/^[a-z]{1,5}$/);
    fc.assert(
      fc.property(fc.dictionary(word, fc.oneof(fc.integer(), fc.string(), fc.boolean())), (value) => {
        const sorted = Object.fromEntries(
          Object.keys(value)
            .sort()
            .map((key) => [key, value[key]]),
        );
        expect(prettySorted(JSON.stringify(value))).toBe(JSON.stringify(sorted, null, 2));
      }),
    );
  });

  test('takes megabytes of escapes in one string', () => {
    const json = JSON.stringify({ text: '"\\'.repeat(1_000_000) });
    expect(JSON.parse(prettySorted(json))).toEqual(JSON.parse(json));
  });
});
