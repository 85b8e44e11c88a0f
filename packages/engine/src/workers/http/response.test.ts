import { Payload } from '@trine/protocol';
import { describe, expect, it, vi } from 'vitest';
import { handlerAnswer, middlewareAnswer } from './response.js';

const none = (): void => undefined;

function answer(value: unknown): ReturnType<typeof handlerAnswer> {
  return handlerAnswer(Payload.fromForeign(value), none);
}

const json = ['content-type', 'application/json'];

describe('what a function returned', () => {
  it('is 204 when it is nothing', () => {
    const empty = { status: 204, headers: [], body: undefined };
    expect(handlerAnswer(undefined, none)).toEqual(empty);
    expect(answer(null)).toEqual(empty);
    expect(handlerAnswer(Payload.fromJson(' null '), none)).toEqual(empty);
  });

  it.each([
    ['a text', 'hi', '{}'],
    ['a list', [1], '{}'],
    ['an object without a body', { status_code: 200 }, '{}'],
    ['a body', { body: { a: [1, 'x'] } }, '{"a":[1,"x"]}'],
    ['a text body', { body: 'hi' }, '"hi"'],
    ['a null body', { body: null }, 'null'],
  ])('sends JSON for %s', (_, value, body) => {
    expect(answer(value)).toEqual({ status: 200, headers: json, body });
  });

  it.each([
    [201, 201],
    ['404', 200],
    [404.5, 200],
    [-1, 200],
    [1000, 200],
    [65_536 + 201, 201],
    [99, 200],
    [999, 999],
  ])('reads status_code %s as %s', (given, status) => {
    expect(answer({ status_code: given }).status).toBe(status);
  });

  it('sends a text as it is under any content type of the function, and nothing for null', () => {
    const headers = { 'Content-Type': 'text/xml' };
    expect(answer({ headers, body: '<a/>' })).toEqual({
      status: 200,
      headers: ['Content-Type', 'text/xml'],
      body: '<a/>',
    });
    expect(answer({ headers, body: null }).body).toBe('');
    expect(answer({ headers, body: { a: 1 } }).body).toBe('{"a":1}');
  });

  it('keeps numbers as the function wrote them, without white space', () => {
    const text = '{ "status_code": 200, "body": { "id": 12345678901234567890, "price": 1.0, "t": "a \\" b" } }';
    expect(handlerAnswer(Payload.fromJson(text), none).body).toBe(
      '{"id":12345678901234567890,"price":1.0,"t":"a \\" b"}',
    );
  });

  it('repeats headers of the list form and drops what cannot be sent', () => {
    const bad = vi.fn();
    const lines = ['Set-Cookie: a=1', 'set-cookie:b=2 ', 'no colon', ': empty', 5, 'x y: 1', 'X-Bad: a\nb', 'X-Uni: é'];
    const { headers } = handlerAnswer(Payload.fromForeign({ headers: lines, body: 1 }), bad);
    expect(headers).toEqual([
      ...json,
      'Set-Cookie',
      'a=1',
      'set-cookie',
      'b=2',
      'X-Uni',
      Buffer.from('é').toString('latin1'),
    ]);
    expect(bad.mock.calls).toEqual([['x y'], ['X-Bad']]);
  });

  it('adds no content type beside one that could not be sent', () => {
    expect(answer({ headers: { 'content-type': 'a\r\nb' }, body: 'x' })).toEqual({
      status: 200,
      headers: [],
      body: 'x',
    });
  });

  it('leaves length and connection to the server', () => {
    expect(
      answer({ headers: { 'Content-Length': '3', Connection: 'close', 'transfer-encoding': 'chunked', a: 'b' } })
        .headers,
    ).toEqual([...json, 'a', 'b']);
  });
});

describe('what a middleware function responds', () => {
  it('is JSON whatever it says', () => {
    expect(middlewareAnswer({ status_code: 401, body: 'no', headers: { 'content-type': 'text/plain' } }, none)).toEqual(
      {
        status: 401,
        headers: ['content-type', 'text/plain'],
        body: '"no"',
      },
    );
    expect(middlewareAnswer(undefined, none)).toEqual({ status: 200, headers: json, body: 'null' });
  });

  it('drops all headers when one is no text', () => {
    expect(middlewareAnswer({ headers: { a: 'b', c: 1 } }, none).headers).toEqual(json);
  });
});
