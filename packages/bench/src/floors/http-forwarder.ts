import fastify from 'fastify';
import { serve, type CorkedSocket } from '../corked-socket.js';
import { callFrame, invocationId, kindOf, readInvocationId } from '../wire.js';

/**
 * The least that a redirect through a function costs on the same HTTP server: fastify, one call over
 * a socket, one answer. Returns the ports of the worker socket and of HTTP.
 */
export async function startHttpForwarder(): Promise<{ port: number; httpPort: number }> {
  let worker: CorkedSocket | undefined;
  let sequence = 0;
  const pending = new Map<string, (location: string) => void>();
  const port = await serve((frame, from) => {
    if (kindOf(frame) === 'registerfunction') worker = from;
    if (kindOf(frame) !== 'invocationresult') return;
    const id = readInvocationId(frame) ?? '';
    pending.get(id)?.(/"Location":"([^"]*)"/.exec(frame)?.[1] ?? '');
    pending.delete(id);
  });
  const app = fastify({ logger: false });
  app.get<{ Params: { code: string } }>('/s/:code', (request, reply) => {
    const id = invocationId(sequence++);
    pending.set(id, (location) => void reply.redirect(location, 302));
    worker?.send(callFrame(id, 'bench::redirect', `{"path_params":{"code":"${request.params.code}"}}`));
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const address = app.server.address();
  if (address === null || typeof address === 'string') throw new Error('the HTTP floor has no port');
  return { port, httpPort: address.port };
}
