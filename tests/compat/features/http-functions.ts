import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { waitFor } from '@trine/testing';
import { expect } from 'vitest';
import { SECRET } from '../secret.js';
import type { Feature } from './feature.js';

interface Received {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export const httpFunctions: readonly Feature[] = [
  {
    id: 'http-functions',
    title: 'function that the engine calls by HTTP',
    async run({ engine, client, partner }) {
      const received: Received[] = [];
      const server = createServer((request, response) => {
        let body = '';
        request.setEncoding('utf8').on('data', (text) => (body += String(text)));
        request.on('end', () => {
          received.push({ method: request.method, url: request.url, headers: request.headers, body });
          const failed = request.url === '/broken';
          response.writeHead(failed ? 422 : 200, { 'content-type': 'application/json' });
          response.end(JSON.stringify(failed ? { error: { code: 'too_odd', message: 'odd' } } : { ok: true }));
        });
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      try {
        const signed = client.id('signed');
        await client.do('serve_by_http', {
          function_id: signed,
          invocation: {
            url: `${base}/hook?a=1`,
            method: 'PUT',
            timeout_ms: 5_000,
            headers: { 'X-Team': client.name },
            auth: { type: 'hmac', secret_key: SECRET.name },
          },
        });
        const broken = client.id('broken');
        await client.do('serve_by_http', { function_id: broken, invocation: { url: `${base}/broken` } });
        await engine.served(signed, broken);

        expect(await partner.result(signed, { n: 'ü' })).toEqual({ ok: true });
        const request = received[0] as Received;
        expect(request).toMatchObject({ method: 'PUT', url: '/hook?a=1' });
        expect(JSON.parse(request.body)).toMatchObject({ n: 'ü' });
        expect(request.headers).toMatchObject({
          'content-type': 'application/json',
          'x-team': client.name,
          'x-iii-function-path': signed,
        });
        const sent = `${String(request.headers['x-iii-timestamp'])}:${Buffer.from(request.body).toString('base64')}`;
        expect(request.headers['x-iii-signature']).toBe(
          `sha256=${createHmac('sha256', SECRET.value).update(sent).digest('hex')}`,
        );
        expect((await partner.call({ function_id: broken, payload: {} })).error).toMatchObject({ code: 'too_odd' });

        await client.do('unserve', { function_id: signed });
        await waitFor(async () => !(await engine.functionIds()).includes(signed));
        expect((await partner.call({ function_id: signed, payload: {} })).error).toBeDefined();
      } finally {
        server.close();
        server.closeAllConnections();
      }
    },
  },
];
