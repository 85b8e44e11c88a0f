import { expect, it } from 'vitest';
import { readBody } from './registry.js';

it('reads what engines wrote into the registry, and nothing else', () => {
  const entry = {
    kind: 'queue',
    name: 'q',
    namespace: '',
    functionId: '',
    pausedBy: [],
    delays: 0,
    absents: 0,
    version: 1,
  };
  expect(readBody(Buffer.from(JSON.stringify(entry)))).toEqual(entry);
  expect(readBody(Buffer.from('{"mark":"m","at":1}'))).toEqual({ mark: 'm', at: 1 });
  for (const foreign of ['', 'hello', 'null', '7', '[]', '{}', '{"kind":"queue"}', '{"mark'])
    expect(readBody(Buffer.from(foreign))).toBeUndefined();
});
