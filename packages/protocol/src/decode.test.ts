import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeFrame } from './decode.js';

const ID = '3f2c1a9e-8d4b-4f5a-9c3e-1b2a3c4d5e6f';

describe('decoding a frame', () => {
  it('reads a call without parsing its payload', () => {
    const frame = decodeFrame(
      `{"type":"invokefunction","invocation_id":"${ID}","function_id":"a::b","data":{"n": 1.0},"action":null,"metadata":{"k":1},"message_type":"x"}`,
    );
    expect(frame).toMatchObject({
      type: 'invokefunction',
      functionId: 'a::b',
      invocationId: ID,
      action: { type: 'call' },
    });
    if (frame.type !== 'invokefunction') throw new Error('not a call');
    expect(frame.data.json).toBe('{"n": 1.0}');
    expect(frame.metadata?.value).toEqual({ k: 1 });
  });

  it('reads a missing or null payload as null', () => {
    for (const data of ['', ',"data":null']) {
      const frame = decodeFrame(`{"type":"invokefunction","function_id":"f"${data}}`);
      expect(frame.type === 'invokefunction' && frame.data.isNull).toBe(true);
    }
  });

  it('tells an absent result from an explicit null', () => {
    const absent = decodeFrame(`{"type":"invocationresult","invocation_id":"${ID}","function_id":"f"}`);
    const explicit = decodeFrame(`{"type":"invocationresult","invocation_id":"${ID}","function_id":"f","result":null}`);
    expect(absent.type === 'invocationresult' && absent.result).toBe(undefined);
    expect(explicit.type === 'invocationresult' && explicit.result?.json).toBe('null');
  });

  it('lets an error win and drops a null stack trace', () => {
    const frame = decodeFrame(
      `{"type":"invocationresult","invocation_id":"${ID}","result":1,"error":{"code":"c","message":"m","stacktrace":null}}`,
    );
    expect(frame).toMatchObject({ error: { code: 'c', message: 'm' } });
    expect(frame.type === 'invocationresult' && frame.error && 'stacktrace' in frame.error).toBe(false);
  });

  it('reads the actions', () => {
    const action = (json: string): unknown => {
      const frame = decodeFrame(`{"type":"invokefunction","function_id":"f","data":1,"action":${json}}`);
      return frame.type === 'invokefunction' ? frame.action : frame;
    };
    expect(action('{"type":"void"}')).toEqual({ type: 'void' });
    expect(action('{"type":"enqueue","queue":"q"}')).toEqual({ type: 'enqueue', queue: 'q' });
    expect(action('{"type":"later"}')).toMatchObject({ type: 'bad', code: 'invalid_frame' });
  });

  it('keeps who waits for an answer when the rest cannot be read', () => {
    expect(decodeFrame(`{"type":"invokefunction","invocation_id":"${ID}","function_id":"f","data":NaN}`)).toMatchObject(
      {
        type: 'bad',
        code: 'invalid_json',
        invocationId: ID,
        functionId: 'f',
        frameType: 'invokefunction',
      },
    );
    expect(decodeFrame(`{"type":"invokefunction","invocation_id":"${ID}","data":1}`)).toMatchObject({
      type: 'bad',
      code: 'invalid_frame',
      message: 'the field `function_id` is missing',
      invocationId: ID,
    });
  });

  it.each([
    ['NaN', 0, /^NaN and Infinity are not JSON.*allow_nan=False/],
    ['Infinity', 0, /^NaN and Infinity are not JSON/],
    ['-Infinity', 1, /^NaN and Infinity are not JSON/],
    ['{"a":[1,NaN]}', 8, /^NaN and Infinity are not JSON/],
    ['"\\x41"', 2, /^Unexpected "x"/],
    ['"\\u12g4"', 5, /^Unexpected "g"/],
    ['"a\tb"', 2, /^Unexpected "\\t"/],
    ["'a'", 0, /^Unexpected "'"/],
    ['{"a":1,}', 7, /^Unexpected "}"/],
    ['[1,2', 18, /^Unexpected ":"/],
  ])('says where %j is no JSON, and to whom', (data, offset, message) => {
    const start = `{"type":"invokefunction","invocation_id":"${ID}","data":`;
    const frame = decodeFrame(`${start}${data},"function_id":"f"}`);
    expect(frame).toMatchObject({ type: 'bad', code: 'invalid_json', invocationId: ID, frameType: 'invokefunction' });
    const said = frame.type === 'bad' ? frame.message : '';
    expect(said).toMatch(message);
    expect(said.endsWith(` at position ${start.length + offset}`), said).toBe(true);
  });

  it('takes no id of a payload for that of a broken frame', () => {
    const OTHER = '00000000-0000-4000-8000-000000000001';
    const inside = `{"deep":[{"type":"x","invocation_id":"${OTHER}"}],"text":"\\"invocation_id\\":\\"${OTHER}\\"}"}`;
    const text = (rest: string): string => `{"type":"invokefunction","data":${inside},"n":NaN${rest}`;
    expect(decodeFrame(text('}'))).toMatchObject({ type: 'bad', invocationId: undefined, frameType: 'invokefunction' });
    for (const end of ['}', '', ',', ',"open'])
      expect(decodeFrame(text(`,"invocation_id":"${ID}"${end}`))).toMatchObject({ type: 'bad', invocationId: ID });
    expect(decodeFrame(`{"invocation_id":"${OTHER}","invocation_id":"${ID}","data":NaN}`)).toMatchObject({
      invocationId: ID,
    });
    expect(decodeFrame(`{"invocation_id":"${ID}","data":${'['.repeat(200_000)}`)).toMatchObject({ invocationId: ID });
  });

  it.each([
    ['{"type":"registerfunction"}', /`id`/],
    ['{"type":"registertrigger","id":"t","trigger_type":"http"}', /`function_id`/],
    ['{"type":"registerfunction","id":7}', /`id`/],
    ['[]', /JSON object/],
    ['{}', /`type` is missing/],
    ['{"type":7}', /`type` must be a string/],
  ])('refuses %s', (text, message) => {
    const frame = decodeFrame(text);
    expect(frame.type).toBe('bad');
    expect(frame.type === 'bad' && frame.message).toMatch(message);
  });

  it('ignores what other eras send', () => {
    expect(decodeFrame('{"type":"registerservice","id":"s"}').type).toBe('ignored');
    expect(decodeFrame('{"type":"observe","id":"o1"}')).toEqual({ type: 'unknown', name: 'observe' });
  });

  it('never throws, whatever comes', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc
            .record({
              type: fc.constantFrom('invokefunction', 'registertrigger', 'invocationresult', 'reattach'),
              id: fc.jsonValue(),
              data: fc.jsonValue(),
              __proto__: fc.jsonValue(),
            })
            .map((o) => JSON.stringify(o)),
        ),
        (text) => {
          expect(typeof decodeFrame(text).type).toBe('string');
        },
      ),
      { numRuns: 5_000 },
    );
    expect(({} as Record<string, unknown>)['polluted']).toBe(undefined);
  });
});
