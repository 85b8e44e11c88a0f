import { expect, test } from 'vitest';
import { readFunctionInfo, takesOnlyText } from './schema.js';

test('parameters come from the request schema, in its order', () => {
  const info = readFunctionInfo(
    JSON.stringify({
      description: 'Runs\u001b[31m a query',
      request_schema: {
        properties: { db: { type: 'string', description: 'which' }, limit: { type: ['integer', 'null'] }, any: {} },
        required: ['db'],
      },
    }),
  );
  expect(info.description).toBe('Runs[31m a query');
  expect(info.parameters).toEqual([
    { name: 'db', type: 'string', required: true, description: 'which' },
    { name: 'limit', type: 'integer|null', required: false, description: '' },
    { name: 'any', type: 'any', required: false, description: '' },
  ]);
});

test('request_format stands in for request_schema, and nothing at all is no schema', () => {
  expect(readFunctionInfo('{"request_format":{"properties":{"a":{"type":"number"}}}}').parameters?.[0]?.name).toBe('a');
  expect(readFunctionInfo('{}').parameters).toBeUndefined();
  expect(readFunctionInfo('{"request_schema":[1],"description":5}').parameters).toBeUndefined();
});

test.each([
  [{ type: 'string' }, '123', true],
  [{ type: 'string' }, 'null', true],
  [{ type: ['string', 'null'] }, '123', true],
  [{ type: ['string', 'null'] }, 'null', false],
  [{ type: ['string', 'number'] }, '123', false],
  [{ type: 'number' }, '123', false],
  [{}, '123', false],
  [undefined, '123', false],
])('%j takes %s only as text: %s', (property, text, expected) => {
  expect(takesOnlyText(property, text)).toBe(expected);
});
