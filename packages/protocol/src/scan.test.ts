import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonSyntaxError, MAX_JSON_DEPTH, memberText, scanObject } from './scan.js';

const accepts = (text: string): boolean => {
  try {
    scanObject(text);
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(JsonSyntaxError);
    return false;
  }
};

const parses = (text: string): boolean => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

const space = fc.stringMatching(/^[ \t\r\n]{0,3}$/);

describe('scanner', () => {
  it('finds every top-level member of any object, as JSON.parse sees it', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), space, (object, around) => {
        const text = around + JSON.stringify(object, null, around) + around;
        const spans = scanObject(text);
        const expected = JSON.parse(text) as Record<string, unknown>;
        expect(new Set(spans?.keys)).toEqual(new Set(Object.keys(expected)));
        for (const key of Object.keys(expected)) {
          expect(JSON.parse(memberText(text, key) ?? '')).toEqual(expected[key]);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    '',
    ' ',
    '{',
    '{"a"',
    '{"a":',
    '{"a":1',
    '{"a":1,',
    '{"a":1,}',
    '[1,]',
    '01',
    '1.',
    '.5',
    '-',
    '1e',
    '+1',
    '"\u0007"',
    '"\\x"',
    '"\\u00g0"',
    'nul',
    'truefalse',
    '{} {}',
    "{'a':1}",
    '{a:1}',
  ])('refuses %j', (text) => {
    expect(parses(text)).toBe(false);
    expect(accepts(text)).toBe(false);
  });

  it('takes the last of duplicate members', () => {
    expect(memberText('{"a":1,"a":2}', 'a')).toBe('2');
  });

  it('keeps the text of numbers', () => {
    expect(memberText('{"v":1.0}', 'v')).toBe('1.0');
    expect(memberText('{"v":123456789012345678901234567890}', 'v')).toBe('123456789012345678901234567890');
  });

  it('says where NaN stands and how to mend it', () => {
    expect(() => scanObject('{"data":{"x":NaN}}')).toThrow(/NaN and Infinity are not JSON.* at position 13/);
    expect(() => scanObject('{"data":-Infinity}')).toThrow(/NaN and Infinity are not JSON/);
  });

  it(`accepts ${MAX_JSON_DEPTH} levels and refuses one more`, () => {
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    expect(accepts(nested(MAX_JSON_DEPTH))).toBe(true);
    expect(() => scanObject(nested(MAX_JSON_DEPTH + 1))).toThrow(/Nesting deeper than 128 levels/);
    expect(() => scanObject(`{"a":${nested(100_000)}}`)).toThrow(/Nesting deeper/);
  });
});
