/**
 * From the words of a command line to the JSON text of a payload. The text of a JSON value is kept
 * as it was typed, so `1.0` and big integers arrive as such.
 */
import { JsonSyntaxError, scanObject } from '@trine/protocol';
import { CliError } from '../terminal/errors.js';

export interface KeyValue {
  readonly key: string;
  /**
   * `json`: `k:=text`, the text must be JSON. `text`: `k=@text`, always a string. `auto`: `k=text`, JSON
   * if the text is JSON, else a string.
   */
  readonly form: 'auto' | 'json' | 'text';
  readonly text: string;
}

/** Does the function take a string for this key? Then a text like `123` is kept as text. */
export type WantsText = (key: string) => boolean;

/**
 * Splits `key=value` words at their first `=`.
 *
 * @throws CliError for a word without `=`, an empty key, or `k:=` with something that is not JSON
 */
export function parseKeyValues(words: readonly string[]): KeyValue[] {
  return words.map((word) => {
    const at = word.indexOf('=');
    if (at < 0) throw new CliError(`Error: expected key=value, got \`${word}\``);
    const text = word.slice(at + 1);
    const key = word.slice(0, at);
    if (key === '') throw new CliError(`Error: payload key must not be empty (got \`${word}\`)`);
    if (key.endsWith(':') && key !== ':') {
      const fault = jsonFault(text);
      if (fault !== undefined) {
        throw new CliError([`Error: ${word}: the value after \`:=\` must be JSON`, '', 'Caused by:', `    ${fault}`]);
      }
      return { key: key.slice(0, -1), form: 'json', text };
    }
    return text.startsWith('@') ? { key, form: 'text', text: text.slice(1) } : { key, form: 'auto', text };
  });
}

/** Keys whose meaning depends on what the function asks for: a schema decides between `123` and `"123"`. */
export function ambiguousKeys(pairs: readonly KeyValue[]): string[] {
  return pairs
    .filter((pair) => pair.form === 'auto' && isJson(pair.text) && !isJsonString(pair.text))
    .map((pair) => pair.key);
}

/**
 * The payload as JSON text: nothing = `{}`, `--json` alone = its text, both = the object with the
 * pairs laid over it (shallow; the last of equal keys wins).
 *
 * @param json - the text given with `--json`, undefined when it was not given
 */
export function buildPayload(
  json: string | undefined,
  pairs: readonly KeyValue[],
  wantsText: WantsText = () => false,
): string {
  if (json !== undefined) {
    const fault = jsonFault(json);
    if (fault !== undefined) {
      throw new CliError([`Error: --json: invalid JSON \`${json}\``, '', 'Caused by:', `    ${fault}`]);
    }
    if (pairs.length === 0) return json.trim();
  }
  const members = new Map<string, string>();
  if (json !== undefined) {
    const spans = scanObject(json);
    if (spans === undefined) throw new CliError('Error: --json must be an object when combined with kv pairs');
    spans.keys.forEach((key, i) => members.set(key, json.slice(spans.starts[i], spans.ends[i])));
  }
  for (const pair of pairs) members.set(pair.key, valueJson(pair, wantsText));
  return `{${[...members].map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(',')}}`;
}

function valueJson(pair: KeyValue, wantsText: WantsText): string {
  const { form, text } = pair;
  if (form === 'json') return text.trim();
  if (form === 'text' || !isJson(text)) return JSON.stringify(text);
  return !isJsonString(text) && wantsText(pair.key) ? JSON.stringify(text) : text.trim();
}

function isJsonString(text: string): boolean {
  return text.trimStart().startsWith('"');
}

function isJson(text: string): boolean {
  return jsonFault(text) === undefined;
}

/** What is wrong with a JSON text, or undefined when nothing is. */
function jsonFault(text: string): string | undefined {
  try {
    scanObject(text);
    return undefined;
  } catch (error) {
    if (error instanceof JsonSyntaxError) return error.message;
    throw error;
  }
}
