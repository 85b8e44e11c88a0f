import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeInvoke, encodeRefusal, encodeResult, withCaller } from './encode.js';

const WORKER = '3f2c1a9e-8d4b-4f5a-9c3e-1b2a3c4d5e6f';

describe('adding the caller to a payload', () => {
  it.each([
    ['{}', `{"_caller_worker_id":"${WORKER}"}`],
    ['{ \n}', `{"_caller_worker_id":"${WORKER}"}`],
    ['{"a":1}', `{"a":1,"_caller_worker_id":"${WORKER}"}`],
    ['{"_caller_worker_id":"forged"}', `{"_caller_worker_id":"${WORKER}"}`],
    ['{"_caller\\u005fworker_id":"forged","a":2}', `{"a":2,"_caller_worker_id":"${WORKER}"}`],
    ['[1]', '[1]'],
    ['null', 'null'],
    ['"x"', '"x"'],
  ])('%s', (before, after) => {
    expect(withCaller(before, WORKER)).toBe(after);
  });

  it('gives every object exactly one key, the real one, and keeps the rest', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.oneof(fc.string(), fc.constant('_caller_worker_id')), fc.jsonValue()), (object) => {
        const stamped = withCaller(JSON.stringify(object), WORKER);
        const expected = { ...(JSON.parse(JSON.stringify(object)) as object), _caller_worker_id: WORKER };
        expect(JSON.parse(stamped)).toEqual(expected);
      }),
    );
  });
});

describe('frames to a worker', () => {
  it('always carry data and leave out what is absent', () => {
    const text = encodeInvoke('i', 'f"x', 'null', undefined, undefined, undefined);
    expect(JSON.parse(text)).toEqual({ type: 'invokefunction', invocation_id: 'i', function_id: 'f"x', data: null });
  });

  it('answer with an error or a result, never both', () => {
    expect(JSON.parse(encodeResult('i', 'f', '1', { code: 'c', message: 'm' }, 'tp', undefined))).toEqual({
      type: 'invocationresult',
      invocation_id: 'i',
      function_id: 'f',
      error: { code: 'c', message: 'm' },
      traceparent: 'tp',
    });
    expect(JSON.parse(encodeResult('i', 'f', undefined, undefined, undefined, undefined))).not.toHaveProperty('result');
  });

  it('refuse a frame under whatever it gave as its id', () => {
    for (const id of ['"', '\\', '\u0000', 'x","result":1,"y":"']) {
      expect(JSON.parse(encodeRefusal(id, 'f', { code: 'c', message: 'm' }))).toEqual({
        type: 'invocationresult',
        invocation_id: id,
        function_id: 'f',
        error: { code: 'c', message: 'm' },
      });
    }
  });
});
