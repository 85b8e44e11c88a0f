import { createHash } from 'node:crypto';
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import type { ChannelRef, EmbeddedWorker } from '@trine/engine';
import { FakeClock, httpEngine, RawChannel, RawWorker, waitFor, type HttpEngine } from '@trine/testing';
import { afterEach, describe, expect, it } from 'vitest';

interface Request {
  readonly request_body: ChannelRef;
  readonly response: ChannelRef;
  readonly body: unknown;
}

let http: HttpEngine;
afterEach(() => http.stop());

const status = (code: unknown): string => JSON.stringify({ type: 'set_status', status_code: code });
const headers = (given: unknown): string => JSON.stringify({ type: 'set_headers', headers: given });
const openChannels = (): number => http.engine.core.channels.size;

/** A request of one's own making: body in pieces, answer in pieces. */
function send(path: string, options: object = {}): { req: ClientRequest; response: Promise<IncomingMessage> } {
  const req = httpRequest({ port: http.port, path, ...options });
  req.on('error', () => undefined);
  const response = once(req, 'response').then(([response]) => response as IncomingMessage);
  response.catch(() => undefined);
  return { req, response };
}

/** A handler that is told what it writes, and returns nothing. */
function writes(worker: EmbeddedWorker, run: (writer: ReturnType<EmbeddedWorker['openWriter']>) => unknown) {
  return (request: Request): undefined => {
    void run(worker.openWriter(request.response));
    return undefined;
  };
}

describe('a response through the channel', () => {
  it('has the status and headers of its control messages, and the bytes', async () => {
    http = await httpEngine();
    await http.route(
      '/report',
      writes(http.worker, (writer) => {
        writer.sendMessage(status(201));
        writer.sendMessage(headers({ 'Content-Type': 'text/csv', 'x-a': '1', 'x-b': '2' }));
        writer.sendMessage(headers({ 'X-A': '3', 'bad name': '4', n: 5, 'transfer-encoding': 'gzip' }));
        for (const ignored of ['no json', '[]', '{"type":"other"}', status(99), status('201'), status(600)])
          writer.sendMessage(ignored);
        writer.stream.write('a,b\n');
        writer.sendMessage(status(500)); // the head is out
        writer.stream.end('1,2\n');
      }),
    );
    const response = await http.fetch('/report', { headers: { origin: 'https://a.example' } });
    expect([response.status, await response.text()]).toEqual([201, 'a,b\n1,2\n']);
    const seen = Object.fromEntries(response.headers);
    expect(seen).toMatchObject({
      'content-type': 'text/csv',
      'x-a': '3',
      'x-b': '2',
      'transfer-encoding': 'chunked',
      'access-control-allow-origin': '*',
    });
    expect(Object.keys(seen)).not.toContain('n');
    await waitFor(() => openChannels() === 0);
  });

  it('without bytes is what the control messages said', async () => {
    http = await httpEngine();
    await http.route(
      '/empty',
      writes(http.worker, (writer) => {
        writer.sendMessage(status(202));
        writer.sendMessage(headers({ 'x-a': '1' }));
        writer.close();
      }),
    );
    const response = await http.fetch('/empty');
    expect([response.status, response.headers.get('x-a'), await response.text()]).toEqual([202, '1', '']);
  });

  it('has the length that was promised, no more and no less', async () => {
    http = await httpEngine();
    const route = (path: string, length: string, body: string): Promise<void> =>
      http.route(
        path,
        writes(http.worker, (writer) => {
          writer.sendMessage(headers({ 'content-length': length }));
          writer.stream.end(body);
        }),
      );
    await route('/exact', '5', 'hello');
    await route('/more', '5', 'hello and more');
    await route('/less', '50', 'hello');
    const exact = await http.fetch('/exact');
    expect([exact.headers.get('content-length'), await exact.text()]).toEqual(['5', 'hello']);
    expect(await (await http.fetch('/more')).text()).toBe('hello');
    await expect(http.fetch('/less').then((response) => response.text())).rejects.toThrow();
  });

  it('to HEAD is the head alone, and the writer is told', async () => {
    http = await httpEngine();
    let aborted: unknown;
    await http.route(
      '/file',
      writes(http.worker, (writer) => {
        writer.stream.on('error', (error: Error) => (aborted = error.message));
        writer.sendMessage(headers({ 'content-length': '11' }));
        writer.stream.write('hello world');
      }),
    );
    const response = await http.fetch('/file', { method: 'HEAD' });
    expect([response.status, response.headers.get('content-length'), await response.text()]).toEqual([200, '11', '']);
    await waitFor(() => aborted);
    expect(aborted).toContain('request_ended');
  });

  it('gives way to a value that is returned before any bytes', async () => {
    http = await httpEngine();
    await http.route('/value', (request: Request) => {
      const writer = http.worker.openWriter(request.response);
      writer.sendMessage(status(500));
      return { status_code: 200, body: 'value' };
    });
    const response = await http.fetch('/value');
    expect([response.status, await response.json()]).toEqual([200, 'value']);
    await waitFor(() => openChannels() === 0);
  });

  it('is an error when the function fails before any bytes, and cut when its writer is lost after some', async () => {
    http = await httpEngine();
    await http.route('/fails', (request: Request) => {
      http.worker.openWriter(request.response).sendMessage(status(201));
      throw new Error('boom');
    });
    await http.route(
      '/lost',
      writes(http.worker, (writer) => {
        writer.sendMessage(status(201));
        setImmediate(() => writer.stream.destroy());
      }),
    );
    await http.route(
      '/cut',
      writes(http.worker, (writer) => writer.stream.write('some', () => writer.stream.destroy())),
    );
    const fails = await http.fetch('/fails');
    expect([fails.status, ((await fails.json()) as { error: { message: string } }).error.message]).toEqual([
      500,
      'boom',
    ]);
    const lost = await http.fetch('/lost');
    expect([lost.status, ((await lost.json()) as { error: { code: string } }).error.code]).toEqual([
      500,
      'INTERNAL_ERROR',
    ]);
    await expect(http.fetch('/cut').then((response) => response.text())).rejects.toThrow();
  });

  it('sends the head of an event stream before anything happens, and events as they come', async () => {
    http = await httpEngine();
    let writer: ReturnType<EmbeddedWorker['openWriter']> | undefined;
    await http.route(
      '/events',
      writes(http.worker, (given) => {
        writer = given;
        given.sendMessage(headers({ 'content-type': 'text/event-stream', connection: 'keep-alive' }));
        given.sendMessage(status(203));
      }),
    );
    const { req, response } = send('/events');
    req.end();
    const answer = await response;
    expect([answer.statusCode, answer.headers['content-type']]).toEqual([203, 'text/event-stream']);
    let text = '';
    answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      writer?.stream.write(event);
      await waitFor(() => text.endsWith(event));
    }
    writer?.close();
    await once(answer, 'end');
    expect(text).toBe('data: 1\n\ndata: 2\n\n');
  });

  it('is held back as far as the client is', async () => {
    http = await httpEngine();
    const TOTAL = 100 * 1024 * 1024;
    let written = 0;
    await http.route(
      '/big',
      writes(http.worker, async (writer) => {
        const chunk = Buffer.alloc(1024 * 1024, 'x');
        while (written < TOTAL) {
          await new Promise((resolve) => writer.stream.write(chunk, resolve));
          written += chunk.length;
        }
        writer.close();
      }),
    );
    const { req, response } = send('/big');
    req.end();
    const answer = await response;
    answer.pause();
    let before = -1;
    await waitFor(() => before === (before = written), { everyMs: 100 });
    expect(written).toBeLessThan(TOTAL / 2);
    let got = 0;
    answer.on('data', (chunk: Buffer) => (got += chunk.length)).resume();
    await once(answer, 'end');
    expect(got).toBe(TOTAL);
  });
});

describe('a request body through the channel', () => {
  const hashes = async (request: Request): Promise<unknown> => {
    const reader = http.worker.openReader(request.request_body);
    const hash = createHash('sha256');
    for await (const chunk of reader.stream) hash.update(chunk as Buffer);
    return { body: { hash: hash.digest('hex'), parsed: request.body } };
  };

  it('is the exact bytes, of JSON too, beside the parsed value; and nothing where there is none', async () => {
    http = await httpEngine();
    await http.route('/hash', hashes, { http_method: 'POST' });
    await http.route('/hash', hashes);
    const json = '{"z":2,  "a":1.0}';
    const hash = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
    const bytes = Buffer.alloc(300_000, 'ab');
    const post = async (body: string | Buffer, type: string): Promise<unknown> =>
      (await http.fetch('/hash', { method: 'POST', body, headers: { 'content-type': type } })).json();
    expect(await post(json, 'application/json')).toEqual({ hash: hash(json), parsed: { z: 2, a: 1 } });
    const large = JSON.stringify('x'.repeat(300_000));
    expect(await post(large, 'application/json')).toMatchObject({ hash: hash(large) });
    expect(await post(bytes, 'application/octet-stream')).toEqual({ hash: hash(bytes), parsed: null });
    expect(await (await http.fetch('/hash')).json()).toEqual({ hash: hash(''), parsed: null });
    await waitFor(() => openChannels() === 0);
  });

  it('comes while it is sent, and goes back while it comes', async () => {
    http = await httpEngine();
    await http.route(
      '/echo',
      (request: Request) => {
        const writer = http.worker.openWriter(request.response);
        http.worker.openReader(request.request_body).stream.pipe(writer.stream);
      },
      { http_method: 'POST' },
    );
    const { req, response } = send('/echo', { method: 'POST', headers: { 'content-type': 'text/plain' } });
    req.write('one');
    const answer = await response;
    let text = '';
    answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
    await waitFor(() => text === 'one');
    req.write('two');
    await waitFor(() => text === 'onetwo');
    req.end('three');
    await once(answer, 'end');
    expect(text).toBe('onetwothree');
  });

  it('has no limit where none is set, and moves only as fast as it is read', async () => {
    http = await httpEngine();
    let reader: ReturnType<EmbeddedWorker['openReader']> | undefined;
    let finish: (() => void) | undefined;
    await http.route(
      '/upload',
      async (request: Request) => {
        reader = http.worker.openReader(request.request_body);
        await new Promise<void>((resolve) => (finish = resolve));
        return { body: (await reader.readAll()).length };
      },
      { http_method: 'POST' },
    );
    const TOTAL = 50 * 1024 * 1024;
    const { req, response } = send('/upload', { method: 'POST', headers: { 'content-length': TOTAL } });
    let sent = 0;
    for (let i = 0; i < 50; i++) req.write(Buffer.alloc(1024 * 1024), () => (sent += 1));
    req.end();
    await waitFor(() => finish);
    let before = -1;
    await waitFor(() => before === (before = sent), { everyMs: 100 });
    expect(sent).toBeLessThan(50);
    finish?.();
    const answer = await response;
    const chunks: Buffer[] = [];
    for await (const chunk of answer) chunks.push(chunk as Buffer);
    expect([answer.statusCode, Buffer.concat(chunks).toString()]).toEqual([200, String(TOTAL)]);
  });

  it('over a limit that is set is 413, also when only its bytes tell', async () => {
    http = await httpEngine({ body_limit: 1000 });
    let failure: unknown;
    await http.route(
      '/upload',
      async (request: Request) => {
        failure = await http.worker
          .openReader(request.request_body)
          .readAll()
          .catch((error: Error) => error.message);
        return { body: 'late' };
      },
      { http_method: 'POST' },
    );
    const { req, response } = send('/upload', { method: 'POST' });
    req.write(Buffer.alloc(600));
    req.write(Buffer.alloc(600));
    expect((await response).statusCode).toBe(413);
    await waitFor(() => failure);
    expect(failure).toContain('body_too_large');
    req.destroy();
  });

  it('that nobody reads does not stand in the way of the answer', async () => {
    http = await httpEngine();
    await http.route('/no', () => ({ status_code: 403, body: 'no' }), { http_method: 'POST' });
    const { req, response } = send('/no', { method: 'POST', headers: { 'content-type': 'text/plain' } });
    req.write('some');
    const answer = await response;
    answer.resume();
    expect(answer.statusCode).toBe(403);
    req.end('rest');
    await waitFor(() => openChannels() === 0);
  });
});

describe('conditions and middleware', () => {
  it('receive no channels', async () => {
    http = await httpEngine();
    const seen: unknown[] = [];
    http.worker.registerFunction('ask::it', (request: unknown) => {
      seen.push(request);
      return { action: 'continue' };
    });
    const config = { condition_function_id: 'ask::it', middleware_function_ids: ['ask::it'] };
    await http.route('/asked', (request: Request) => ({ body: Object.keys(request) }), config);
    const keys = (await (await http.fetch('/asked')).json()) as string[];
    expect(keys).toEqual(expect.arrayContaining(['request_body', 'response']));
    expect(seen).toHaveLength(2);
    expect(JSON.stringify(seen)).not.toMatch(/request_body|access_key|"response"/);
  });
});

describe('a client that leaves', () => {
  it('ends call and channels; what the function returns later is ignored', async () => {
    http = await httpEngine();
    const failures: string[] = [];
    let finish: ((value: unknown) => void) | undefined;
    await http.route(
      '/leave',
      async (request: Request) => {
        http.worker
          .openReader(request.request_body)
          .readAll()
          .catch((error: Error) => failures.push(error.message));
        const writer = http.worker.openWriter(request.response);
        writer.sendMessage(status(200));
        writer.stream.on('error', (error) => failures.push(error.message));
        return new Promise((resolve) => (finish = resolve));
      },
      { http_method: 'POST' },
    );
    const { req } = send('/leave', { method: 'POST' });
    req.write('half');
    await waitFor(() => finish);
    expect(http.engine.core.router.inFlight).toBe(1);
    req.destroy();
    await waitFor(() => failures.length === 2);
    expect(failures.every((message) => message.includes('client_gone'))).toBe(true);
    await waitFor(() => http.engine.core.router.inFlight === 0 && openChannels() === 0);
    finish?.({ body: 'late' });
  });

  it('ends a stream: its writer hears of it with the next bytes or before', async () => {
    http = await httpEngine();
    let failure: string | undefined;
    await http.route(
      '/events',
      writes(http.worker, (writer) => {
        writer.stream.on('error', (error) => (failure = error.message));
        writer.stream.write('data: 1\n\n');
      }),
    );
    const { req, response } = send('/events');
    req.end();
    await response;
    req.destroy();
    await waitFor(() => failure);
    expect(failure).toContain('client_gone');
    expect(openChannels()).toBe(0);
  });
});

describe('a function that returns nothing', () => {
  async function remote(clock: FakeClock): Promise<{ worker: RawWorker; seen: Request[] }> {
    http = await httpEngine({}, { clock });
    const worker = await RawWorker.connect(http.engine.url);
    const seen: Request[] = [];
    worker.serve('raw::void', (data) => {
      seen.push(data as Request);
      return null;
    });
    worker.send({
      type: 'registertrigger',
      id: 'r',
      trigger_type: 'http',
      function_id: 'raw::void',
      config: { api_path: '/void' },
    });
    await worker.ask('nobody::here', null);
    return { worker, seen };
  }

  it('is 204 when its channel stays shut, not before and not after', async () => {
    const clock = new FakeClock();
    const { worker, seen } = await remote(clock);
    let answered: number | undefined;
    void http.fetch('/void').then((response) => (answered = response.status));
    await waitFor(() => seen.length === 1 && http.engine.core.router.inFlight === 0);
    // The answer to the ping that measures shortens the wait from 5 s to 250 ms.
    await http.engine.core.session(worker.id)?.roundTrip();
    await clock.advance(249);
    expect(answered).toBeUndefined();
    await clock.advance(1);
    await waitFor(() => answered);
    expect(answered).toBe(204);
    expect(openChannels()).toBe(0);
  });

  it('may open its channel late, by as many round trips as it takes', async () => {
    const clock = new FakeClock();
    const { worker, seen } = await remote(clock);
    const response = http.fetch('/void');
    worker.pause(); // the pong waits in the worker's socket
    await waitFor(async () => {
      worker.resume();
      return seen.length === 1;
    });
    const writer = await RawChannel.open(http.engine.url, seen[0]?.response as never);
    await clock.advance(1_000);
    writer.send(status(201));
    writer.send(Buffer.from('late'));
    writer.close();
    const answer = await response;
    expect([answer.status, await answer.text()]).toEqual([201, 'late']);
  });

  it('and opens its channel has until the deadline for its first bytes', async () => {
    const clock = new FakeClock();
    const { seen } = await remote(clock);
    const response = http.fetch('/void');
    await waitFor(() => seen.length === 1);
    const writer = await RawChannel.open(http.engine.url, seen[0]?.response as never);
    writer.send(status(200));
    let answered: number | undefined;
    void response.then((answer) => (answered = answer.status));
    await clock.advance(29_000);
    expect(answered).toBeUndefined();
    await waitFor(
      async () => {
        await clock.advance(500);
        return answered;
      },
      { everyMs: 10 },
    );
    expect(answered).toBe(504);
    expect(await writer.closed()).toEqual([1011, 'request_ended']);
  });
});

it('lets streams be while it counts the requests that are handled', async () => {
  http = await httpEngine({ concurrency_request_limit: 1 });
  let writer: ReturnType<EmbeddedWorker['openWriter']> | undefined;
  await http.route(
    '/stream',
    writes(http.worker, (given) => (writer = given).stream.write('x')),
  );
  await http.route('/value', () => ({ body: 1 }));
  const { req, response } = send('/stream');
  req.end();
  await response;
  expect((await http.fetch('/value')).status).toBe(200);
  writer?.close();
});
