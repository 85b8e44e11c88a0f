import { describe, expect, it } from 'vitest';
import { parameterValues } from './parameters.js';
import { rowObjectsJson, valueJson } from './result-json.js';
import { controlsTransaction, firstWord, placeholders, withReturning } from './sql-text.js';

describe('SQL text', () => {
  it('finds the first word behind blanks, semicolons and comments', () => {
    expect(firstWord(' ;; -- COMMIT\n /* BEGIN */ select 1')).toBe('SELECT');
    expect(firstWord('-- nothing')).toBe('');
    expect(controlsTransaction('/* x */ rollback to a')).toBe(true);
    expect(controlsTransaction('"begin"')).toBe(false);
  });

  it('counts placeholders as SQLite does', () => {
    expect(placeholders('SELECT ?, \'?\', "?", [?], `?`, -- ?\n ? /* ? */')).toEqual([undefined, undefined]);
    expect(placeholders('SELECT ?3, ?, :a, @b, $c, :a')).toEqual([undefined, undefined, '3', undefined, 'a', 'b', 'c']);
    expect(placeholders('SELECT foo$1 FROM t')).toEqual([]);
  });

  it('adds RETURNING behind the statement, not behind its comment', () => {
    expect(withReturning("DELETE FROM t WHERE x = '--' ; -- all", ['id', 'we"ird', '*'])).toBe(
      `DELETE FROM t WHERE x = '--' RETURNING "id", "we""ird", *`,
    );
  });
});

describe('values', () => {
  it('go in by their JSON text', () => {
    const text =
      '[null, true, false, 1, 1.0, 1e2, -9223372036854775808, 9223372036854775807, 9223372036854775808, "a,]", {"b": [1, 2]}, []]';
    expect(parameterValues(text)).toEqual([
      null,
      1n,
      0n,
      1n,
      1,
      100,
      -(2n ** 63n),
      2n ** 63n - 1n,
      2 ** 63,
      'a,]',
      '{"b":[1,2]}',
      '[]',
    ]);
    expect(parameterValues(undefined)).toEqual([]);
    expect(parameterValues('" [ 1 ] "')).toEqual([1n]);
    expect(() => parameterValues('"[1"')).toThrow(/INVALID_PARAM/);
    expect(() => parameterValues('7')).toThrow(/INVALID_PARAM/);
  });

  it('come out by their storage class', () => {
    expect(
      [2n ** 53n - 1n, 2n ** 53n, -(2n ** 53n), 1, 1.5, 1e21, Infinity, null, '"', Buffer.from([0, 255])].map(
        valueJson,
      ),
    ).toEqual([
      '9007199254740991',
      '"9007199254740992"',
      '"-9007199254740992"',
      '1.0',
      '1.5',
      '1e+21',
      'null',
      'null',
      '"\\""',
      '"AP8="',
    ]);
  });

  it('of columns with one name the last counts; keys are sorted, integer-like ones too', () => {
    const columns = ['b', '10', '9', 'b', '__proto__'].map((name) => ({ name, type: null }));
    expect(rowObjectsJson(columns, [['1', '2', '3', '4', '5']])).toBe('[{"10":2,"9":3,"__proto__":5,"b":4}]');
  });
});
