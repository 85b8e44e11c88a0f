import { describe, expect, test } from 'vitest';
import { CliError } from '../terminal/errors.js';
import { ambiguousKeys, buildPayload, parseKeyValues } from './payload.js';

const payload = (words: string[], json?: string): string => buildPayload(json, parseKeyValues(words));

describe('key=value words', () => {
  test.each([
    [['a=10'], '{"a":10}'],
    [['a=1e3'], '{"a":1e3}'],
    [['a=1.0'], '{"a":1.0}'],
    [['id=12345678901234567890'], '{"id":12345678901234567890}'],
    [['a=-5'], '{"a":-5}'],
    [['a=01'], '{"a":"01"}'],
    [['a=true', 'b=false', 'c=null'], '{"a":true,"b":false,"c":null}'],
    [['a=True'], '{"a":"True"}'],
    [['a={"x":1}'], '{"a":{"x":1}}'],
    [['a=[1,2]'], '{"a":[1,2]}'],
    [['a=[1,2'], '{"a":"[1,2"}'],
    [['a=  7  '], '{"a":7}'],
    [['a='], '{"a":""}'],
    [['a="5"'], '{"a":"5"}'],
    [['code=123'], '{"code":123}'],
    [['code=nope'], '{"code":"nope"}'],
    [['url=https://iii.dev/?a=b'], '{"url":"https://iii.dev/?a=b"}'],
    [
      ["sql=SELECT COUNT(*) AS clicks FROM clicks WHERE code = 'iii'"],
      '{"sql":"SELECT COUNT(*) AS clicks FROM clicks WHERE code = \'iii\'"}',
    ],
    [['a.b=1'], '{"a.b":1}'],
    [['a=1', 'a=2'], '{"a":2}'],
    [['__proto__=1'], '{"__proto__":1}'],
    [['a=b=c'], '{"a":"b=c"}'],
    [['n:=5', 's:="5"'], '{"n":5,"s":"5"}'],
    [['code=@123', 'at=@@home'], '{"code":"123","at":"@home"}'],
  ])('%j is %s', (words, expected) => {
    expect(payload(words)).toBe(expected);
  });

  test.each([
    [['tok'], 'Error: expected key=value, got `tok`'],
    [['=v'], 'Error: payload key must not be empty (got `=v`)'],
    [['k:=nope'], 'Error: k:=nope: the value after `:=` must be JSON'],
  ])('%j is refused', (words, first) => {
    expect(() => parseKeyValues(words)).toThrow(CliError);
    try {
      parseKeyValues(words);
    } catch (error) {
      expect((error as CliError).lines[0]).toBe(first);
      expect((error as CliError).exitCode).toBe(1);
    }
  });
});

describe('--json', () => {
  test('alone is sent as it is, whatever its type', () => {
    expect(payload([], '[1, 2.0]')).toBe('[1, 2.0]');
    expect(payload([], ' "text"\n')).toBe('"text"');
    expect(payload([], 'null')).toBe('null');
  });

  test('gives way to pairs, member by member', () => {
    expect(payload(['b=2'], '{"a":1.0,"b":1,"c":{"d":1}}')).toBe('{"a":1.0,"b":2,"c":{"d":1}}');
  });

  test('that is no object is refused beside pairs', () => {
    expect(() => payload(['a=1'], '[1]')).toThrow('--json must be an object when combined with kv pairs');
  });

  test('that is no JSON is refused with the place of the fault', () => {
    expect(() => payload([], '{a:1}')).toThrow(
      '--json: invalid JSON `{a:1}`\n\nCaused by:\n    Unexpected "a" at position 1',
    );
  });

  test('nothing at all is an empty object', () => {
    expect(payload([])).toBe('{}');
  });
});

describe('what a schema decides', () => {
  test('only bare JSON values other than strings are ambiguous', () => {
    const pairs = parseKeyValues(['a=1', 'b=x', 'c="5"', 'd:=1', 'e=@1', 'f=null']);
    expect(ambiguousKeys(pairs)).toEqual(['a', 'f']);
  });

  test('a key that takes strings keeps its text', () => {
    const pairs = parseKeyValues(['code=123', 'n=123', 'quoted="5"']);
    expect(buildPayload(undefined, pairs, (key) => key !== 'n')).toBe('{"code":"123","n":123,"quoted":"5"}');
  });
});
