import { registerWorker, Logger, TriggerAction } from "iii-sdk";

const worker = registerWorker(process.env.III_URL ?? "ws://localhost:49134", { workerName: "link" });
const logger = new Logger();

const DB = "primary";

/** The link worker owns its tables. */
async function ensureSchema() {
  await worker.trigger({
    function_id: "database::execute",
    payload: {
      db: DB,
      sql: "CREATE TABLE IF NOT EXISTS links (code TEXT PRIMARY KEY, url TEXT NOT NULL, created_at TEXT NOT NULL)",
    },
  });
  await worker.trigger({
    function_id: "database::execute",
    payload: {
      db: DB,
      sql: "CREATE TABLE IF NOT EXISTS clicks (id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT NOT NULL, clicked_at TEXT NOT NULL)",
    },
  });
}

await ensureSchema();

worker.registerFunction("link::create", async (payload: { url: string; code?: string }) => {
  const url = /^https?:\/\//i.test(payload.url) ? payload.url : `https://${payload.url}`;
  const code = payload.code ?? Math.random().toString(36).slice(2, 8);
  await worker.trigger({
    function_id: "database::execute",
    payload: {
      db: DB,
      sql:
        "INSERT INTO links (code, url, created_at) VALUES (?, ?, ?) " +
        "ON CONFLICT(code) DO UPDATE SET url = excluded.url",
      params: [code, url, new Date().toISOString()],
    },
  });
  await worker.trigger({
    function_id: "state::set",
    payload: { scope: "links", key: code, value: { url } },
  });
  await worker.trigger({
    function_id: "publish",
    payload: { topic: "link.created", data: { code, url } },
  });
  return { code, url };
});

worker.registerFunction("link::resolve", async (payload: { code: string }) => {
  const { code } = payload;
  // The cache first, then the database, which knows every link that was ever made.
  const cached = await worker.trigger<{ scope: string; key: string }, { url: string } | null>({
    function_id: "state::get",
    payload: { scope: "links", key: code },
  });
  let url = cached?.url ?? null;
  if (url === null) {
    const found = await worker.trigger<object, { rows: { url: string }[] }>({
      function_id: "database::query",
      payload: { db: DB, sql: "SELECT url FROM links WHERE code = ?", params: [code] },
    });
    url = found.rows[0]?.url ?? null;
    if (url !== null) {
      await worker.trigger({
        function_id: "state::set",
        payload: { scope: "links", key: code, value: { url } },
      });
    }
  }
  logger.info("link resolved", { code, found: url !== null });
  return { url };
});

worker.registerFunction("link::record_click", async (payload: { code: string; clicked_at: string }) => {
  await worker.trigger({
    function_id: "database::execute",
    payload: {
      db: DB,
      sql: "INSERT INTO clicks (code, clicked_at) VALUES (?, ?)",
      params: [payload.code, payload.clicked_at],
    },
  });
  return { ok: true };
});

worker.registerFunction("link::update", async (payload: { code: string; url: string }) => {
  const url = /^https?:\/\//i.test(payload.url) ? payload.url : `https://${payload.url}`;
  await worker.trigger({
    function_id: "database::execute",
    payload: {
      db: DB,
      sql: "UPDATE links SET url = ? WHERE code = ?",
      params: [url, payload.code],
    },
  });
  await worker.trigger({
    function_id: "iii::durable::publish",
    payload: { topic: "link.updated", data: { code: payload.code, url } },
  });
  return { code: payload.code, url };
});

worker.registerFunction("link::on_link_updated", async (data: { code: string; url: string }) => {
  await worker.trigger({
    function_id: "state::set",
    payload: { scope: "links", key: data.code, value: { url: data.url } },
  });
});

worker.registerTrigger({
  type: "durable:subscriber",
  function_id: "link::on_link_updated",
  config: { topic: "link.updated" },
});

worker.registerFunction("http::create", async (req) => {
  const url = req.body?.url;
  if (!url) {
    return {
      status_code: 400,
      body: { error: 'missing "url"' },
      headers: { "Content-Type": "application/json" },
    };
  }
  const link = await worker.trigger<{ url: string; code?: string }, { code: string; url: string }>({
    function_id: "link::create",
    payload: { url, code: req.body.code },
  });
  return { status_code: 201, body: link, headers: { "Content-Type": "application/json" } };
});

worker.registerTrigger({
  type: "http",
  function_id: "http::create",
  config: { api_path: "/links", http_method: "POST" },
});

worker.registerFunction("http::redirect", async (req) => {
  const code = req.path_params.code;
  const { url } = await worker.trigger<{ code: string }, { url: string | null }>({
    function_id: "link::resolve",
    payload: { code },
  });
  if (!url) {
    return {
      status_code: 404,
      body: { error: "link not found" },
      headers: { "Content-Type": "application/json" },
    };
  }
  // Enqueue the click and return right away; the consumer drains it later.
  await worker.trigger({
    function_id: "link::record_click",
    payload: { code, clicked_at: new Date().toISOString() },
    action: TriggerAction.Enqueue({ queue: "clicks" }),
  });
  return { status_code: 302, headers: { Location: url } };
});

worker.registerTrigger({
  type: "http",
  function_id: "http::redirect",
  config: { api_path: "/s/:code", http_method: "GET" },
});

worker.registerFunction("http::update", async (req) => {
  const code = req.path_params.code;
  const url = req.body?.url;
  if (!url) {
    return {
      status_code: 400,
      body: { error: 'missing "url"' },
      headers: { "Content-Type": "application/json" },
    };
  }
  const link = await worker.trigger<{ code: string; url: string }, { code: string; url: string }>({
    function_id: "link::update",
    payload: { code, url },
  });
  return { status_code: 200, body: link, headers: { "Content-Type": "application/json" } };
});

worker.registerTrigger({
  type: "http",
  function_id: "http::update",
  config: { api_path: "/links/:code", http_method: "PUT" },
});

logger.info("link worker ready");
