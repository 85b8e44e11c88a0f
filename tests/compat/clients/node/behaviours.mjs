/** Handlers that a test can ask for by name: `(connection, functionId, options) => handler`. */
import { readBytes, readEverything, writeBytes, writeTexts } from './transfer.mjs';

const withoutCaller = (data) => {
  if (data === null || typeof data !== 'object' || Array.isArray(data)) return data;
  const { _caller_worker_id: _, ...rest } = data;
  return rest;
};

export const behaviours = {
  echo:
    ({ name }) =>
    async (data) => ({ from: name, data: withoutCaller(data) }),

  /** A fixed answer; none at all where there is no `value`. */
  answer:
    (_connection, _functionId, { value }) =>
    async () =>
      value,

  fail:
    ({ name }) =>
    async () => {
      throw new Error(`no luck in ${name}`);
    },

  note: (connection, functionId) => async (data, metadata) => {
    connection.note(functionId, { data, metadata: metadata ?? null });
  },

  /** Notes, and fails the first times. */
  stumble: (connection, functionId, { times }) => {
    let calls = 0;
    return async (data) => {
      connection.note(functionId, { data: withoutCaller(data) });
      if (++calls <= times) throw new Error(`stumbled ${calls}`);
    };
  },

  /** Calls as it is told and returns how that ended. */
  relay: (connection) => async (request) => connection.call(request),

  /** Waits for its gate. */
  wait: (connection, functionId) => async (data) => {
    connection.note(functionId, { data: withoutCaller(data) });
    await connection.pass(functionId);
    return { waited: connection.name };
  },

  /** Reads a channel that came in the payload to its end. */
  consume:
    () =>
    async ({ reader }) =>
      readEverything(reader),

  /** Writes into a channel that came in the payload. */
  produce:
    () =>
    async ({ writer, bytes, texts }) => {
      if (bytes !== undefined) await writeBytes(writer, bytes);
      else writeTexts(writer, texts);
    },

  page:
    ({ name }) =>
    async (request) => ({
      status_code: 201,
      headers: { 'X-Client': name },
      body: {
        word: request.path_params['word'],
        query: request.query_params,
        method: request.method,
        sent: request.body,
      },
    }),

  upload: () => async (request) => ({
    status_code: 200,
    body: {
      type: request.headers['content-type'],
      parsed: request.body ?? null,
      ...(await readBytes(request.request_body)),
    },
  }),

  download: ({ sdk }, _functionId, { bytes }) =>
    sdk.http(async (_request, response) => {
      response.status(206);
      response.headers({ 'content-type': 'application/octet-stream', 'x-part': 'all of it' });
      await writeBytes(response, bytes);
    }),

  /** One event, and another each time its gate opens. */
  events: (connection, functionId, { count }) =>
    connection.sdk.http(async (_request, response) => {
      response.status(200);
      response.headers({ 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
      for (let n = 0; n < count; n++) {
        if (n > 0) await connection.pass(functionId);
        response.stream.write(`id: ${n}\ndata: {"n":${n}}\n\n`);
      }
      response.stream.end();
    }),

  /** Middleware of a route. */
  guard: () => async (input) =>
    input.request.headers['x-pass'] === 'yes'
      ? { action: 'continue' }
      : { action: 'respond', response: { status_code: 403, body: { phase: input.phase } } },

  /** Auth function of a listener: says no to what has not the key. */
  doorkeeper:
    (connection, functionId, { result }) =>
    async (input) => {
      connection.note(functionId, { data: input });
      if (input.headers['x-key'] !== 'open') throw new Error('no key');
      return result;
    },

  /** Middleware of a listener: calls, and says that it was there. */
  steward: (connection, functionId) => async (input) => {
    connection.note(functionId, { data: input });
    const { result, error } = await connection.call({ function_id: input.function_id, payload: input.payload });
    if (error) throw new Error(error.message);
    return { by_way_of: 'steward', result };
  },

  /** Hook of a registration: refuses what has the word in its id. */
  registrar: (connection, functionId) => async (input) => {
    connection.note(functionId, { data: input });
    if (JSON.stringify(input).includes('forbidden-thing')) throw new Error('not that');
    return {};
  },
};
