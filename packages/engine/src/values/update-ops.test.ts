import { describe, expect, it } from 'vitest';
import { readUpdateOps } from './update-input.js';
import { applyUpdateOps, UPDATE_ERRORS_URL } from './update-ops.js';

/** Applies operations as they come from a client. `stored` undefined = the key does not exist. */
function update(
  stored: string | undefined,
  ...ops: object[]
): { value: string; errors: { code: string; message: string; op_index: number }[] } {
  return updateRaw(stored, JSON.stringify(ops));
}

function updateRaw(
  stored: string | undefined,
  ops: string,
): { value: string; errors: { code: string; message: string; op_index: number }[] } {
  const { value, errors } = applyUpdateOps(stored, readUpdateOps('state::update', ops));
  return { value, errors: errors.map(({ code, message, op_index }) => ({ code, message, op_index })) };
}

const ok = (value: string): object => ({ value, errors: [] });

describe('update operations', () => {
  describe.each<[string, string | undefined, object, string]>([
    // set
    ['set at the root replaces everything', '{"a":1}', { type: 'set', path: '', value: [1] }, '[1]'],
    ['set of a field keeps its place', '{"a":1,"b":2}', { type: 'set', path: 'a', value: 9 }, '{"a":9,"b":2}'],
    ['set of a new field adds it last', '{"a":1}', { type: 'set', path: 'b', value: null }, '{"a":1,"b":null}'],
    ['set without a value sets null', '{"a":1}', { type: 'set', path: 'a' }, '{"a":null}'],
    [
      'a dot in a path is no separator',
      '{"a":{"b":1}}',
      { type: 'set', path: 'a.b', value: 2 },
      '{"a":{"b":1},"a.b":2}',
    ],
    ['set of a field of a missing key makes an object', undefined, { type: 'set', path: 'a', value: 1 }, '{"a":1}'],
    // merge
    ['merge at the root copies keys', '{"a":1,"b":2}', { type: 'merge', value: { b: 3, c: 4 } }, '{"a":1,"b":3,"c":4}'],
    ['merge with path null is at the root', '{"a":1}', { type: 'merge', path: null, value: { b: 2 } }, '{"a":1,"b":2}'],
    ['merge with path [] is at the root', '{"a":1}', { type: 'merge', path: [], value: { b: 2 } }, '{"a":1,"b":2}'],
    ['merge with path "" is at the root', '{"a":1}', { type: 'merge', path: '', value: { b: 2 } }, '{"a":1,"b":2}'],
    ['merge is shallow', '{"a":{"x":1}}', { type: 'merge', value: { a: { y: 2 } } }, '{"a":{"y":2}}'],
    ['merge at a root that is no object does nothing', '[1]', { type: 'merge', value: { a: 1 } }, '[1]'],
    ['merge into a key that is missing', undefined, { type: 'merge', value: { a: 1 } }, '{"a":1}'],
    ['merge at a string path', '{"a":{"x":1}}', { type: 'merge', path: 'a', value: { y: 2 } }, '{"a":{"x":1,"y":2}}'],
    ['merge makes missing levels', '{}', { type: 'merge', path: ['a', 'b'], value: { c: 1 } }, '{"a":{"b":{"c":1}}}'],
    [
      'merge replaces what is no object on its way',
      '{"a":5}',
      { type: 'merge', path: ['a', 'b'], value: { c: 1 } },
      '{"a":{"b":{"c":1}}}',
    ],
    [
      'merge at a path replaces a root that is no object',
      '7',
      { type: 'merge', path: ['a'], value: { c: 1 } },
      '{"a":{"c":1}}',
    ],
    // increment, decrement
    ['increment of a missing key at the root', undefined, { type: 'increment', path: '', by: 3 }, '3'],
    ['decrement of a missing key at the root', undefined, { type: 'decrement', path: '', by: 3 }, '-3'],
    ['increment at the root', '4', { type: 'increment', path: '', by: 3 }, '7'],
    ['decrement at the root', '4', { type: 'decrement', path: '', by: 5 }, '-1'],
    ['increment of an absent field', '{}', { type: 'increment', path: 'n', by: 2 }, '{"n":2}'],
    ['decrement of an absent field', '{}', { type: 'decrement', path: 'n', by: 2 }, '{"n":-2}'],
    ['increment of a field', '{"n":1,"m":0}', { type: 'increment', path: 'n', by: 2 }, '{"n":3,"m":0}'],
    ['increment by a negative amount', '{"n":1}', { type: 'increment', path: 'n', by: -2 }, '{"n":-1}'],
    ['a float stays a float', '{"n":1.0}', { type: 'increment', path: 'n', by: 2 }, '{"n":3.0}'],
    ['a float with a fraction', '{"n":0.5}', { type: 'decrement', path: 'n', by: 1 }, '{"n":-0.5}'],
    ['a float with an exponent', '{"n":1e2}', { type: 'increment', path: 'n', by: 1 }, '{"n":101.0}'],
    [
      'up to the largest integer',
      '{"n":9007199254740990}',
      { type: 'increment', path: 'n', by: 1 },
      '{"n":9007199254740991}',
    ],
    ['back into range', '{"n":9007199254740993}', { type: 'decrement', path: 'n', by: 2 }, '{"n":9007199254740991}'],
    // append
    ['append a string to a missing key', undefined, { type: 'append', value: 'x' }, '"x"'],
    ['append a number to a missing key', undefined, { type: 'append', value: 1 }, '[1]'],
    ['append to null at the root', 'null', { type: 'append', path: '', value: { a: 1 } }, '[{"a":1}]'],
    ['append a string to null at the root', 'null', { type: 'append', path: [], value: 'x' }, '"x"'],
    ['append to an array at the root', '[1]', { type: 'append', value: [2] }, '[1,[2]]'],
    ['append to a string at the root', '"ab"', { type: 'append', value: 'cd' }, '"abcd"'],
    ['append to an absent field', '{}', { type: 'append', path: 'l', value: 1 }, '{"l":[1]}'],
    ['append a string to an absent field', '{}', { type: 'append', path: 'l', value: 'x' }, '{"l":"x"}'],
    ['append a string to a null field', '{"l":null}', { type: 'append', path: 'l', value: 'x' }, '{"l":"x"}'],
    ['append to an empty array', '{"l":[ ]}', { type: 'append', path: 'l', value: 1 }, '{"l":[1]}'],
    ['append to a field by array path', '{"l":["a"]}', { type: 'append', path: ['l'], value: 'b' }, '{"l":["a","b"]}'],
    [
      'append below the first level: a new leaf is an array',
      '{}',
      { type: 'append', path: ['a', 'l'], value: 'x' },
      '{"a":{"l":["x"]}}',
    ],
    [
      'append below the first level: a null leaf takes a string',
      '{"a":{"l":null}}',
      { type: 'append', path: ['a', 'l'], value: 'x' },
      '{"a":{"l":"x"}}',
    ],
    [
      'append below the first level: a null leaf takes a list',
      '{"a":{"l":null}}',
      { type: 'append', path: ['a', 'l'], value: 1 },
      '{"a":{"l":[1]}}',
    ],
    [
      'append below the first level: to an array',
      '{"a":{"l":[1]}}',
      { type: 'append', path: ['a', 'l'], value: 2 },
      '{"a":{"l":[1,2]}}',
    ],
    [
      'append replaces what is no object on its way',
      '{"a":5}',
      { type: 'append', path: ['a', 'l'], value: 2 },
      '{"a":{"l":[2]}}',
    ],
    // remove
    ['remove at the root leaves null', '{"a":1}', { type: 'remove', path: '' }, 'null'],
    ['remove of a field', '{"a":1,"b":2}', { type: 'remove', path: 'a' }, '{"b":2}'],
    ['remove of an absent field', '{"b":2}', { type: 'remove', path: 'a' }, '{"b":2}'],
    ['remove of a field of a missing key', undefined, { type: 'remove', path: 'a' }, '{}'],
  ])('%s', (_name, stored, op, expected) => {
    it(`gives ${expected}`, () => expect(update(stored, op)).toEqual(ok(expected)));
  });

  const notObject = (op: string, path: string, type: string): object => ({
    code: `${op}.target_not_object`,
    message: `Cannot ${op} at path '${path}': target is ${type}, expected object.`,
  });

  describe.each<[string, string | undefined, object, object]>([
    ['set', '[]', { type: 'set', path: 'a', value: 1 }, notObject('set', 'a', 'array')],
    ['increment', '"s"', { type: 'increment', path: 'a', by: 1 }, notObject('increment', 'a', 'string')],
    ['decrement', 'null', { type: 'decrement', path: 'a', by: 1 }, notObject('decrement', 'a', 'null')],
    ['remove', 'true', { type: 'remove', path: 'a' }, notObject('remove', 'a', 'boolean')],
    ['append to one segment', '5', { type: 'append', path: 'a', value: 1 }, notObject('append', '[a]', 'number')],
    [
      'append to two segments',
      '[]',
      { type: 'append', path: ['a', 'b'], value: 1 },
      notObject('append', '[a, b]', 'array'),
    ],
    [
      'increment of text',
      '{"n":"1"}',
      { type: 'increment', path: 'n', by: 1 },
      { code: 'increment.not_number', message: "Expected number at path 'n', got string." },
    ],
    [
      'increment of null',
      '{"n":null}',
      { type: 'increment', path: 'n', by: 1 },
      { code: 'increment.not_number', message: "Expected number at path 'n', got null." },
    ],
    [
      'decrement of an object at the root',
      '{}',
      { type: 'decrement', path: '', by: 1 },
      { code: 'decrement.not_number', message: "Expected number at path 'root', got object." },
    ],
    [
      'arithmetic above the integers of a double',
      '{"n":9007199254740991}',
      { type: 'increment', path: 'n', by: 1 },
      { code: 'increment.not_number', message: "Expected number at path 'n', got number." },
    ],
    [
      'arithmetic below the integers of a double',
      '-9007199254740991',
      { type: 'decrement', path: '', by: 1 },
      { code: 'decrement.not_number', message: "Expected number at path 'root', got number." },
    ],
    [
      'arithmetic on an integer without end',
      '9'.repeat(100_000),
      { type: 'decrement', path: '', by: 1 },
      { code: 'decrement.not_number', message: "Expected number at path 'root', got number." },
    ],
    [
      'append of a number to a string',
      '{"s":"a"}',
      { type: 'append', path: 's', value: 1 },
      { code: 'append.type_mismatch', message: "Expected string append value at path 's', got number." },
    ],
    [
      'append to a number',
      '{"a":{"s":1}}',
      { type: 'append', path: ['a', 's'], value: 1 },
      {
        code: 'append.type_mismatch',
        message: "Cannot append at path 's': target is number, expected array, string, null, or missing field.",
      },
    ],
    [
      'append to an object at the root',
      '{"a":1}',
      { type: 'append', value: 1 },
      {
        code: 'append.type_mismatch',
        message: "Cannot append at path 'root': target is object, expected array, string, null, or missing field.",
      },
    ],
    [
      'a path that is too deep',
      '{}',
      { type: 'merge', path: Array.from({ length: 33 }, () => 'a'), value: {} },
      { code: 'merge.path.too_deep', message: 'Path depth 33 exceeds maximum of 32' },
    ],
    [
      'an empty segment',
      '{}',
      { type: 'append', path: ['a', ''], value: 1 },
      { code: 'append.path.empty_segment', message: 'Path contains an empty segment' },
    ],
    [
      'a segment that is too long in bytes',
      '{}',
      { type: 'set', path: 'é'.repeat(129), value: 1 },
      { code: 'set.path.segment_too_long', message: 'Path segment of 258 bytes exceeds maximum of 256' },
    ],
    [
      'a segment that pollutes',
      '{}',
      { type: 'remove', path: '__proto__' },
      { code: 'remove.path.proto_polluted', message: "Path segment '__proto__' is not allowed (prototype pollution)." },
    ],
    [
      'a merge of no object',
      '{}',
      { type: 'merge', value: [1] },
      { code: 'merge.value.not_an_object', message: 'Merge value must be a JSON object' },
    ],
    [
      'a merge of too many keys',
      '{}',
      { type: 'merge', value: Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [`k${i}`, 1])) },
      { code: 'merge.value.too_many_keys', message: 'Merge value has 1025 top-level keys, exceeds maximum of 1024' },
    ],
    [
      'a merge that pollutes',
      '{}',
      { type: 'merge', value: { constructor: 1 } },
      {
        code: 'merge.value.proto_polluted',
        message: 'Merge value top-level key "constructor" is a prototype-pollution sink',
      },
    ],
    [
      'a merge that is too deep',
      '{}',
      { type: 'merge', value: { a: JSON.parse('['.repeat(16) + ']'.repeat(16)) as unknown } },
      { code: 'merge.value.too_deep', message: 'Merge value JSON nesting depth 17 exceeds maximum of 16' },
    ],
    [
      'bounds before types',
      '[]',
      { type: 'increment', path: 'prototype', by: 1 },
      {
        code: 'increment.path.proto_polluted',
        message: "Path segment 'prototype' is not allowed (prototype pollution).",
      },
    ],
  ])('%s', (_name, stored, op, error) => {
    it('is an error and changes nothing', () => {
      expect(update(stored, op)).toEqual({ value: stored ?? '{}', errors: [{ op_index: 0, ...error }] });
    });
  });

  it('takes exactly the bounds', () => {
    const segments = Array.from({ length: 32 }, (_, i) => `s${i}`);
    expect(update('{}', { type: 'merge', path: segments, value: { a: 1 } }).errors).toEqual([]);
    expect(update('{}', { type: 'set', path: 'é'.repeat(128), value: 1 }).errors).toEqual([]);
    const deep = JSON.parse('{"a":'.repeat(16) + '1' + '}'.repeat(16)) as object;
    expect(update('{}', { type: 'merge', value: deep }).errors).toEqual([]);
  });

  it('runs on after a failing operation and tells its index', () => {
    const { value, errors } = update(
      '{"n":1,"s":"x"}',
      { type: 'increment', path: 'n', by: 1 },
      { type: 'increment', path: 's', by: 1 },
      { type: 'append', path: 's', value: 'y' },
    );
    expect(value).toBe('{"n":2,"s":"xy"}');
    expect(errors).toMatchObject([{ op_index: 1, code: 'increment.not_number' }]);
    expect(applyUpdateOps('1', readUpdateOps('f', '[{"type":"remove","path":"a"}]')).errors[0]?.doc_url).toBe(
      UPDATE_ERRORS_URL,
    );
  });

  it('takes a missing key for missing until an operation succeeds', () => {
    expect(
      update(undefined, { type: 'remove', path: 'a' }, { type: 'increment', path: '', by: 1 }).errors,
    ).toMatchObject([{ op_index: 1, code: 'increment.not_number' }]);
    expect(update(undefined, { type: 'merge', value: 5 }, { type: 'increment', path: '', by: 1 }).value).toBe('1');
    expect(update(undefined)).toEqual(ok('{}'));
  });

  it('keeps the text of what it does not touch', () => {
    const stored = '{"float":1.0,"big":12345678901234567890123,"text":"\\u00e9","nested":{ "x": 1.50 },"2":0,"1":0}';
    expect(update(stored, { type: 'set', path: 'new', value: 1 })).toEqual(ok(`${stored.slice(0, -1)},"new":1}`));
    expect(
      updateRaw(
        '{"a":1}',
        '[{"type":"set","path":"b","value":1.0},{"type":"merge","value":{"c":12345678901234567890}}]',
      ),
    ).toEqual(ok('{"a":1,"b":1.0,"c":12345678901234567890}'));
  });

  it('joins strings that were written with escapes', () => {
    expect(updateRaw('"\\ud83d"', '[{"type":"append","value":"\\ude00\\""}]')).toEqual(ok('"\\ud83d\\ude00\\""'));
  });

  it('treats keys of a stored value as data, whatever they are called', () => {
    expect(update('{"a":{"__proto__":{"x":1}}}', { type: 'merge', path: 'a', value: { y: 1 } })).toEqual(
      ok('{"a":{"__proto__":{"x":1},"y":1}}'),
    );
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });
});

describe('reading update operations', () => {
  it.each([
    ['null', 'invalid type: null, expected an array at `ops`'],
    ['[5]', 'ops[0]: invalid type: number, expected an object'],
    ['[{"path":"a"}]', 'ops[0]: missing field `type`'],
    [
      '[{"type":"push","path":"a"}]',
      'ops[0]: unknown variant `push`, expected one of `set`, `merge`, `increment`, `decrement`, `append`, `remove`',
    ],
    ['[{"type":"Set","path":"a"}]', 'unknown variant `Set`'],
    ['[{"type":"set","value":1}]', 'ops[0]: missing field `path`'],
    ['[{"type":"set","path":["a"]}]', 'invalid type: array, expected a string at `path`'],
    ['[{"type":"remove","path":null}]', 'invalid type: null, expected a string at `path`'],
    ['[{"type":"append","path":["a",1],"value":1}]', 'invalid type: number, expected a string in `path`'],
    ['[{"type":"append","path":"a"}]', 'ops[0]: missing field `value`'],
    ['[{"type":"merge"}]', 'ops[0]: missing field `value`'],
    ['[{"type":"increment","path":"a"}]', 'ops[0]: missing field `by`'],
    ['[{"type":"increment","path":"a","by":1.5}]', 'floating point `1.5`, expected an integer at `by`'],
    ['[{"type":"increment","path":"a","by":1.0}]', 'floating point `1.0`, expected an integer at `by`'],
    ['[{"type":"decrement","path":"a","by":"1"}]', 'invalid type: string, expected an integer at `by`'],
    ['[{"type":"increment","path":"a","by":9223372036854775808}]', 'integer `9223372036854775808`, expected i64'],
  ])('refuses the whole update: %s', (ops, message) => {
    expect(() => readUpdateOps('state::update', ops)).toThrow(
      expect.objectContaining({ code: 'deserialization_error', message: expect.stringContaining(message) as string }),
    );
    expect(() => readUpdateOps('state::update', ops)).toThrow(/^Failed to deserialize input for state::update: /);
  });

  it('keeps large amounts whole where nothing is added up', () => {
    expect(updateRaw('{}', '[{"type":"decrement","path":"n","by":-9223372036854775808}]')).toEqual(
      ok('{"n":9223372036854775808}'),
    );
  });

  it('refuses more operations than the bound, and values that would be nested too deep to read', () => {
    const one = '{"type":"remove","path":"a"}';
    expect(readUpdateOps('f', `[${Array.from({ length: 1024 }, () => one).join(',')}]`)).toHaveLength(1024);
    expect(() => readUpdateOps('f', `[${Array.from({ length: 1025 }, () => one).join(',')}]`)).toThrow(
      'the limit is 1024',
    );
    const deep = '['.repeat(120) + ']'.repeat(120);
    expect(() => readUpdateOps('f', `[{"type":"append","path":["a","b","c","d"],"value":${deep}}]`)).toThrow(
      '125 levels deep',
    );
  });
});
