import { describe, expect, it } from 'vitest';
import { compactBytes, concatStrings, elementTexts, nestingDepth, pushElement } from './json-text.js';

describe('JSON text', () => {
  it.each([
    ['1', 0],
    ['"[{"', 0],
    ['[]', 1],
    ['{"a":[{"b":"]}"}],"c":1}', 3],
    ['["\\"[",[[]]]', 3],
  ])('counts the nesting of %s', (text, depth) => expect(nestingDepth(text)).toBe(depth));

  it.each([
    ['[]', []],
    ['[ ]', []],
    ['[1]', ['1']],
    ['[ 1.0 , "a,]\\"" ,[2,3], {"x":[4,5]} ]', ['1.0', '"a,]\\""', '[2,3]', '{"x":[4,5]}']],
  ])('splits %s', (text, elements) => expect(elementTexts(text)).toEqual(elements));

  it('pushes and joins', () => {
    expect(pushElement('[ ]', '1')).toBe('[1]');
    expect(pushElement('[1, 2]', '3')).toBe('[1, 2,3]');
    expect(concatStrings('"a"', '""')).toBe('"a"');
  });

  it.each([
    '{ "a" : [ 1 , 2 ],\n "b": "x y" }',
    '"\\u00e9 \\u20ac \\ud83d\\ude00 \\/ \\" \\\\ \\n \\u000a \\u0001 \\u0041"',
    '"é€😀"',
    'true',
    '{"é":null}',
  ])('measures %s as its compact form', (text) =>
    expect(compactBytes(text)).toBe(Buffer.byteLength(JSON.stringify(JSON.parse(text)))),
  );
});
