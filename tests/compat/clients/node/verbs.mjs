/** What a test can tell the client to do: `(driver, words) => value`. `as` names a connection. */
import { Connection } from './connection.mjs';
import { readEverything, writeBytes, writeTexts } from './transfer.mjs';

const on = (driver, { as = 'main' }) => driver.connections.get(as);

export const verbs = {
  /** Another client in this process. */
  connect: async (driver, { as, ...options }) => {
    driver.connections.set(as, new Connection(driver.sdk, options));
  },
  disconnect: async (driver, { as }) => {
    const connection = driver.connections.get(as);
    driver.connections.delete(as);
    await connection.worker.shutdown();
  },

  call: async (driver, words) => on(driver, words).call(words),
  /** Sends and gets a text that is too long for the line protocol. */
  call_big: async (driver, words) => {
    const { function_id, text, times, timeout_ms } = words;
    const payload = { text: text.repeat(times) };
    const { data } = await on(driver, words).worker.trigger({ function_id, payload, timeoutMs: timeout_ms });
    return { length: data.text.length, is_equal: data.text === payload.text };
  },
  serve: async (driver, words) => on(driver, words).serve(words),
  unserve: async (driver, words) => on(driver, words).functions.get(words.function_id).unregister(),
  notes: async (driver, words) => on(driver, words).notes.get(words.function_id) ?? [],
  open: async (driver, words) => on(driver, words).open(words.gate),

  /** A function that the engine calls by HTTP. */
  serve_by_http: async (driver, words) => {
    const { worker, functions } = on(driver, words);
    functions.set(words.function_id, worker.registerFunction(words.function_id, words.invocation));
  },

  bind: async (driver, words) => {
    const { type, function_id, config, metadata, handle } = words;
    const { worker, triggers } = on(driver, words);
    triggers.set(handle, worker.registerTrigger({ type, function_id, config, ...(metadata ? { metadata } : {}) }));
  },
  unbind: async (driver, words) => on(driver, words).triggers.get(words.handle).unregister(),

  provide: async (driver, words) => on(driver, words).provide(words.type),
  withdraw: async (driver, words) => on(driver, words).triggerTypes.get(words.type).unregister(),
  bindings: async (driver, words) => [...on(driver, words).bindings.get(words.type).values()],
  /** Fires each binding of a type. */
  fire: async (driver, words) => {
    const connection = on(driver, words);
    for (const { function_id } of connection.bindings.get(words.type).values())
      await connection.call({ function_id, payload: words.payload, void: true });
  },

  /** Makes a channel, hands one end to a function, and does its own part at the other. */
  channel_out: async (driver, words) => {
    const { worker } = on(driver, words);
    const { writer, readerRef } = await driver.sdk.createChannel(worker);
    const consumed = worker.trigger({
      function_id: words.to,
      payload: { reader: readerRef },
      timeoutMs: words.timeout_ms,
    });
    if (words.bytes !== undefined) await writeBytes(writer, words.bytes);
    else writeTexts(writer, words.texts);
    return consumed;
  },
  channel_in: async (driver, words) => {
    const { worker } = on(driver, words);
    const { reader, writerRef } = await driver.sdk.createChannel(worker);
    const { from, timeout_ms, bytes, texts } = words;
    const produced = worker.trigger({
      function_id: from,
      payload: { writer: writerRef, bytes, texts },
      timeoutMs: timeout_ms,
    });
    const [read] = await Promise.all([readEverything(reader), produced]);
    return read;
  },

  /** A stream that is kept here, not by the engine. Its changes are noted under its name. */
  keep_stream: async (driver, words) => {
    const connection = on(driver, words);
    const groups = new Map();
    const group = (id) => groups.get(id) ?? groups.set(id, new Map()).get(id);
    driver.sdk.createStream(connection.worker, words.name, {
      get: async ({ group_id, item_id }) => group(group_id).get(item_id),
      set: async ({ group_id, item_id, data }) => {
        connection.note(words.name, { set: item_id });
        const old = group(group_id).get(item_id);
        group(group_id).set(item_id, data);
        return { old_value: old ?? null, new_value: data };
      },
      delete: async ({ group_id, item_id }) => {
        connection.note(words.name, { delete: item_id });
        const old = group(group_id).get(item_id);
        group(group_id).delete(item_id);
        return { old_value: old ?? null };
      },
      list: async ({ group_id }) => [...group(group_id).values()],
      listGroups: async () => [...groups.keys()],
      update: async () => null,
    });
  },

  log: async (driver, words) => new driver.sdk.Logger().warn(words.message, words.fields),
};
