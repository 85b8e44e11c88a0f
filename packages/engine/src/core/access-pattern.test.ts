import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AccessPattern, patternOf } from './access-pattern.js';

describe('a pattern of access rules', () => {
  it.each([
    ['a::b', 'a::b', true],
    ['a::b', 'a::bc', false],
    ['a::*', 'a::', true],
    ['a::*', 'ab::c', false],
    ['*', '', true],
    ['*::read', 'x::y::read', true],
    ['a*a', 'a', false],
    ['a*b*c', 'a-c-b-c', true],
    ['a*b*c', 'a-c-b', false],
    ['ab*ba', 'aba', false],
    ['a.c', 'abc', false],
    ['', '', true],
    ['', 'a', false],
  ])('%s on %s: %s', (pattern, text, fits) => {
    expect(new AccessPattern(pattern).fits(text)).toBe(fits);
  });

  it('agrees with the regular expression that it stands for', () => {
    const part = fc.string({ unit: fc.constantFrom('a', 'b', '*', ':', '.'), maxLength: 8 });
    fc.assert(
      fc.property(part, part, (pattern, text) => {
        const parts = pattern.split('*').map((each) => each.replaceAll('.', '\\.'));
        expect(new AccessPattern(pattern).fits(text)).toBe(new RegExp(`^${parts.join('.*')}$`, 's').test(text));
      }),
      { numRuns: 2_000 },
    );
  });

  it('takes no longer for many stars', () => {
    const pattern = new AccessPattern('*a'.repeat(200) + 'b');
    const started = performance.now();
    expect(pattern.fits('a'.repeat(100_000))).toBe(false);
    expect(performance.now() - started).toBeLessThan(1_000);
  });

  it('is written as match("...")', () => {
    expect(['match("a*")', "match('b')", ' match( "c" ) '].map(patternOf)).toEqual(['a*', 'b', 'c']);
    expect(['a*', 'match(a)', 'match("a\')', 'match("a") or match("b")'].map(patternOf)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});
