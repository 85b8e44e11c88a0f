import { createHash } from 'node:crypto';
import { waitFor } from '@trine/testing';
import { expect } from 'vitest';
import { sha256OfBytes } from './channels.js';
import type { Feature, Scene } from './feature.js';

const UPLOAD_BYTES = 5_000_000;
const DOWNLOAD_BYTES = 5_000_000;
const EVENTS = 3;

const pathOf = ({ client }: Scene, name: string): string => `/c/${client.name}/${name}`;

/** Serves a function and the route to it. */
async function route(
  scene: Scene,
  name: string,
  { method = 'GET', path = '', behaviour = name, options = {}, config = {} }: RouteWords,
): Promise<string> {
  const { engine, client } = scene;
  const function_id = client.id(name);
  await client.do('serve', { function_id, behaviour, options });
  const api_path = pathOf(scene, name) + path;
  await client.do('bind', {
    type: 'http',
    function_id,
    config: { api_path, http_method: method, ...config },
    handle: name,
  });
  await engine.bound(function_id);
  return pathOf(scene, name);
}

interface RouteWords {
  readonly method?: string;
  readonly path?: string;
  readonly behaviour?: string;
  readonly options?: object;
  readonly config?: object;
}

export const http: readonly Feature[] = [
  {
    id: 'http-routes',
    title: 'HTTP route, parameters, middleware, unbinding',
    async run(scene) {
      const { engine, client } = scene;
      const path = await route(scene, 'page', { method: 'POST', path: '/:word' });
      const answer = await engine.fetch(`${path}/hello?q=a+b&n=1`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ a: [1, null] }),
      });
      expect(answer.status).toBe(201);
      expect(answer.headers.get('x-client')).toBe(client.name);
      expect(await answer.json()).toEqual({
        word: 'hello',
        query: { q: 'a b', n: '1' },
        method: 'POST',
        sent: { a: [1, null] },
      });

      const guard = client.id('guard');
      await client.do('serve', { function_id: guard, behaviour: 'guard' });
      const guarded = await route(scene, 'guarded', {
        behaviour: 'answer',
        options: { value: { status_code: 200, body: 'in' } },
        config: { middleware_function_ids: [guard] },
      });
      const stopped = await engine.fetch(guarded);
      expect([stopped.status, await stopped.json()]).toEqual([403, { phase: 'preHandler' }]);
      expect((await engine.fetch(guarded, { headers: { 'x-pass': 'yes' } })).status).toBe(200);

      const failing = await route(scene, 'failing', { behaviour: 'fail' });
      expect((await engine.fetch(failing)).status).toBe(500);

      await client.do('unbind', { handle: 'page' });
      await waitFor(async () => (await engine.fetch(`${path}/hello`, { method: 'POST' })).status === 404);
    },
  },
  {
    id: 'http-upload',
    title: 'HTTP upload read from a channel',
    async run(scene) {
      const path = await route(scene, 'upload', { method: 'POST' });
      const post = async (type: string, body: Buffer | string): Promise<unknown> => {
        const answer = await scene.engine.fetch(path, { method: 'POST', headers: { 'content-type': type }, body });
        expect(answer.status).toBe(200);
        return answer.json();
      };
      const bytes = Buffer.alloc(UPLOAD_BYTES, 'upload ');
      const sha256 = (data: Buffer | string): string => createHash('sha256').update(data).digest('hex');
      expect(await post('application/octet-stream', bytes)).toEqual({
        type: 'application/octet-stream',
        parsed: null,
        bytes: UPLOAD_BYTES,
        sha256: sha256(bytes),
      });
      // The very bytes of JSON too, beside what they mean.
      const json = '{"z":2, "a":1}';
      expect(await post('application/json', json)).toEqual({
        type: 'application/json',
        parsed: { z: 2, a: 1 },
        bytes: json.length,
        sha256: sha256(json),
      });
    },
  },
  {
    id: 'http-download',
    title: 'HTTP download written to a channel',
    async run(scene) {
      const path = await route(scene, 'download', { options: { bytes: DOWNLOAD_BYTES } });
      const answer = await scene.engine.fetch(path);
      expect(answer.status).toBe(206);
      expect(answer.headers.get('content-type')).toBe('application/octet-stream');
      expect(answer.headers.get('x-part')).toBe('all of it');
      const body = Buffer.from(await answer.arrayBuffer());
      expect(body.length).toBe(DOWNLOAD_BYTES);
      expect(createHash('sha256').update(body).digest('hex')).toBe(sha256OfBytes(DOWNLOAD_BYTES));
    },
  },
  {
    id: 'http-sse',
    title: 'HTTP server-sent events',
    async run(scene) {
      const { engine, client } = scene;
      const path = await route(scene, 'events', { options: { count: EVENTS } });
      const answer = await engine.fetch(path, { headers: { accept: 'text/event-stream' } });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toBe('text/event-stream');
      let received = '';
      let expected = '';
      const decoder = new TextDecoder();
      let seen = 0;
      for await (const chunk of answer.body as ReadableStream<Uint8Array>) {
        received += decoder.decode(chunk, { stream: true });
        // Each event is here before the next is written.
        while (seen < EVENTS && received.length >= expected.length + eventText(seen).length) {
          expected += eventText(seen++);
          expect(received).toBe(expected);
          if (seen < EVENTS) await client.do('open', { gate: client.id('events') });
        }
      }
      expect(received).toBe(expected);
      expect(seen).toBe(EVENTS);
    },
  },
];

const eventText = (n: number): string => `id: ${n}\ndata: {"n":${n}}\n\n`;
