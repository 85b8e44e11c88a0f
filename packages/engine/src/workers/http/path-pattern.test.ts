import { describe, expect, it } from 'vitest';
import { PARAMETER, parsePattern, REST } from './path-pattern.js';

describe('path patterns', () => {
  it.each([
    ['/users/:id', ['users', PARAMETER], ['id']],
    ['users/{id}', ['users', PARAMETER], ['id']],
    ['///users', ['users'], []],
    ['/users/', ['users', ''], []],
    ['/', [''], []],
    ['', [''], []],
    ['/:id.json', [PARAMETER], ['id.json']],
    ['/a:b', ['a:b'], []],
    ['/files/*', ['files', REST], ['*']],
    ['/files/*rest', ['files', REST], ['rest']],
    ['/files/{*rest}', ['files', REST], ['rest']],
    ['/a//b', ['a', '', 'b'], []],
  ])('reads %s', (path, segments, names) => {
    expect(parsePattern(path)).toEqual({ segments, names });
  });

  it.each([
    '/:',
    '/{}',
    '/{*}',
    '/a{b',
    '/a}b',
    '/{a}.json',
    '/*/a',
    '/*rest/a',
    '/{*rest}/a',
    '/a*',
    '/:a*',
    '/:{a}',
    '/{{a}}',
    '/**',
  ])('refuses %s and says which segment it means', (path) => {
    expect(() => parsePattern(path)).toThrow(`api_path '${path}': segment`);
  });

  it('refuses paths without bounds', () => {
    expect(() => parsePattern('/a'.repeat(300))).toThrow('300 segments');
    expect(() => parsePattern('a'.repeat(9000))).toThrow('9000 characters');
  });
});
