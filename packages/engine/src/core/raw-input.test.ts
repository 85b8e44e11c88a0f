import { Payload } from '@trine/protocol';
import { describe, expect, it } from 'vitest';
import { jsonKind, RawInput } from './raw-input.js';

const read = (json: string): RawInput => new RawInput('state::set', Payload.fromJson(json));

describe('raw input', () => {
  it('hands out the text of a member as it was sent', () => {
    expect(read('{"scope":"a","value":{ "n": 1.0, "big": 12345678901234567890 }}').text('value')).toBe(
      '{ "n": 1.0, "big": 12345678901234567890 }',
    );
  });

  it('reads strings with escapes', () => {
    expect(read('{"scope":"a\\n\\u0062\\"","key":""}').string('scope')).toBe('a\nb"');
    expect(read('{"key":""}').string('key')).toBe('');
  });

  it('takes the last of duplicate members, as JSON.parse does', () => {
    expect(read('{"scope":"first","scope":"last"}').string('scope')).toBe('last');
  });

  it.each([
    ['null', 'Failed to deserialize input for state::set: invalid type: null, expected an object'],
    ['[1]', 'Failed to deserialize input for state::set: invalid type: array, expected an object'],
    ['{}', 'Failed to deserialize input for state::set: missing field `scope`'],
    ['{"scope":5}', 'Failed to deserialize input for state::set: invalid type: number, expected a string at `scope`'],
  ])('refuses %s by name', (json, message) => {
    expect(() => read(json).string('scope')).toThrow(
      expect.objectContaining({ code: 'deserialization_error', message }),
    );
  });

  it('names every kind', () => {
    expect(['null', 'true', 'false', '-1.5', '"x"', '[]', '{}'].map(jsonKind)).toEqual([
      'null',
      'boolean',
      'boolean',
      'number',
      'string',
      'array',
      'object',
    ]);
  });
});
