/** `iii trigger`: calls one function of a running engine. */
import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { EngineConnection } from '../client/engine-connection.js';
import { CliError, messageOf, USAGE_EXIT } from '../terminal/errors.js';
import { print } from '../terminal/output.js';
import { CLIENT_NAME, triggerUrl, type TriggerOptions } from './options.js';
import { prettySorted } from './json-print.js';
import { ambiguousKeys, buildPayload, parseKeyValues, type KeyValue, type WantsText } from './payload.js';
import { readFunctionInfo, takesOnlyText } from './schema.js';

export const DEFAULT_TIMEOUT_MS = 30_000;
/** The longest that a timer of Node can wait, in milliseconds. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
/** Longest wait for the function's schema before values are read by their looks alone, in milliseconds. */
const SCHEMA_TIMEOUT_MS = 1_000;

export async function trigger(words: readonly string[], options: TriggerOptions): Promise<void> {
  const positional = [...words];
  const functionId = options.functionId ?? positional.shift();
  if (options.help === true) {
    const { showTriggerHelp } = await import('./help.js');
    return showTriggerHelp(functionId, options);
  }
  if (functionId === undefined) {
    throw new CliError('Error: iii trigger: missing FUNCTION_PATH. Try: `iii trigger <fn-path> [args]`');
  }
  const timeoutMs = parseTimeout(options.timeoutMs);
  const pairs = parseKeyValues(positional);
  const json = await payloadText(options);
  buildPayload(json, pairs); // tells of bad input before anything is connected
  await call(functionId, json, pairs, timeoutMs, options);
}

async function call(
  functionId: string,
  json: string | undefined,
  pairs: readonly KeyValue[],
  timeoutMs: number,
  options: TriggerOptions,
): Promise<void> {
  const startedAt = performance.now();
  const leftMs = (): number => Math.max(1, timeoutMs - (performance.now() - startedAt));
  const connection = await EngineConnection.open(await triggerUrl(options), CLIENT_NAME, timeoutMs);
  try {
    const wantsText = await askForTexts(connection, functionId, pairs, Math.min(SCHEMA_TIMEOUT_MS, leftMs()), options);
    const data = buildPayload(json, pairs, wantsText);
    const answer = await connection.invoke(functionId, data, { timeoutMs: leftMs(), namespace: options.namespace });
    if (!answer.ok) {
      const { code, message, stacktrace = null } = answer.error;
      throw new CliError(`Error: ${prettySorted(JSON.stringify({ code, message, stacktrace }))}`);
    }
    const result = answer.resultJson ?? 'null';
    if (result !== 'null' || options.printNull === true) print(prettySorted(result) + '\n');
  } finally {
    await connection.close();
  }
}

/**
 * Asks the engine which of the typed values are meant as text, but only when a value could be read
 * both ways (`code=123`). A function without a schema, or no answer: by looks, as ever.
 */
async function askForTexts(
  connection: EngineConnection,
  functionId: string,
  pairs: readonly KeyValue[],
  timeoutMs: number,
  options: TriggerOptions,
): Promise<WantsText> {
  const keys = ambiguousKeys(pairs);
  const texts = new Set<string>();
  if (keys.length === 0) return () => false;
  try {
    const request = JSON.stringify({ function_id: functionId, namespace: options.namespace });
    const answer = await connection.invoke('engine::functions::info', request, { timeoutMs });
    if (answer.ok && answer.resultJson !== undefined) {
      const { properties } = readFunctionInfo(answer.resultJson);
      for (const pair of pairs) {
        if (keys.includes(pair.key) && takesOnlyText(properties.get(pair.key), pair.text)) texts.add(pair.key);
      }
    }
  } catch {
    // The call itself will say what is wrong with the connection.
  }
  return (key) => texts.has(key);
}

async function payloadText(options: TriggerOptions): Promise<string | undefined> {
  const json = options.json ?? options.payload;
  if (json === undefined) return undefined;
  if (json === '-') return readAll(process.stdin);
  if (!json.startsWith('@')) return json;
  try {
    return await readFile(json.slice(1), 'utf8');
  } catch (error) {
    const file = json.slice(1);
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const what = isMissing ? `there is no file ${file}` : `cannot read ${file}: ${messageOf(error)}`;
    throw new CliError(`Error: --json: ${what}`, { cause: error });
  }
}

function parseTimeout(text: string | undefined): number {
  if (text === undefined) return DEFAULT_TIMEOUT_MS;
  const timeoutMs = Number(text);
  if (!/^\d+$/.test(text) || timeoutMs < 1 || timeoutMs > MAX_TIMEOUT_MS) {
    throw new CliError(
      `error: invalid value '${text}' for '--timeout-ms <MS>': give a whole number of milliseconds from 1 to ${MAX_TIMEOUT_MS}`,
      { exitCode: USAGE_EXIT },
    );
  }
  return timeoutMs;
}
