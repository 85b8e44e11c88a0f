import fc from 'fast-check';
import { expect, it } from 'vitest';
import { headersJson, queryJson, readHeaders, splitUrl } from './request-parts.js';
import { compactJson } from './json-text.js';

it('keeps the last of repeated headers, in lower case, and empties values that are no visible ASCII', () => {
  const raw = ['X-A', '1', 'x-a', 'two "quoted" \\', 'X-Latin', 'caf\u00e9', '__proto__', 'p', 'X-Tab', 'a\tb'];
  expect(JSON.parse(headersJson(readHeaders(raw)))).toEqual(
    JSON.parse('{"x-a":"two \\"quoted\\" \\\\","x-latin":"","__proto__":"p","x-tab":"a\\tb"}'),
  );
  expect(({} as Record<string, unknown>)['p']).toBeUndefined();
});

it('decodes a query as a form does', () => {
  const parsed: unknown = JSON.parse(queryJson('a=1&a=2&b=x+y%21&c&%ff=%zz&__proto__=evil'));
  expect(parsed).toEqual(JSON.parse('{"a":"2","b":"x y!","c":"","\ufffd":"%zz","__proto__":"evil"}'));
});

it('writes valid JSON for any query and any header value', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(() => JSON.parse(queryJson(text)) as unknown).not.toThrow();
      expect(() => JSON.parse(headersJson(new Map([['x', text]]))) as unknown).not.toThrow();
    }),
  );
});

it('splits a request target, also a full address', () => {
  expect(splitUrl('/a%2Fb?x=1?2')).toEqual({ path: '/a%2Fb', query: 'x=1?2' });
  expect(splitUrl('http://host:1/a?b')).toEqual({ path: '/a', query: 'b' });
  expect(splitUrl('http://host?b')).toEqual({ path: '/', query: 'b' });
  expect(splitUrl('//a')).toEqual({ path: '//a', query: '' });
  expect(splitUrl('*')).toEqual({ path: '*', query: '' });
});

it('takes the white space out of any JSON text and nothing else', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      const value: unknown = JSON.parse(text);
      expect(compactJson(JSON.stringify(value, null, 2))).toBe(JSON.stringify(value));
    }),
  );
});
