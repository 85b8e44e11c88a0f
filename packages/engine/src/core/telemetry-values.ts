/**
 * Reading OTLP as JSON: foreign text in which every array may be absent, 64-bit numbers travel as
 * strings or as numbers, and nothing is what it should be. Nothing here throws.
 */
/** Nesting of attribute values that is read; deeper ones become null. */
const MAX_VALUE_DEPTH = 16;
/** Longest text of an attribute or of a log's body that is kept, in characters: what people still read. */
export const MAX_TELEMETRY_CHARS = 16_384;
/** Longest name of a span, a metric, a service or an attribute that is kept, in characters. */
export const MAX_TELEMETRY_NAME_CHARS = 512;
/** Attributes of one span, event, link, data point, record or resource that are kept (OpenTelemetry's default limit). */
export const MAX_TELEMETRY_ATTRIBUTES = 128;

export type JsonObject = Readonly<Record<string, unknown>>;
/** Name and value, both text: how attributes of spans and metrics are kept. */
export type AttributePair = readonly [name: string, value: string];

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The objects of what should be an array of objects; every array of the format may be absent. */
export function objects(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** Attributes with their JSON types. No prototype: the names are foreign. */
export function attributesOf(list: unknown, depth = 0): Record<string, unknown> {
  const attributes = Object.create(null) as Record<string, unknown>;
  for (const { key, value } of objects(list).slice(0, MAX_TELEMETRY_ATTRIBUTES)) {
    if (typeof key === 'string') attributes[clip(key, MAX_TELEMETRY_NAME_CHARS)] = anyValue(value, depth);
  }
  return attributes;
}

/** Attributes as text: numbers and booleans printed, lists and maps as JSON, nothing as ''. */
export function attributePairs(list: unknown): AttributePair[] {
  return objects(list)
    .slice(0, MAX_TELEMETRY_ATTRIBUTES)
    .flatMap(({ key, value }): AttributePair[] =>
      typeof key === 'string' ? [[clip(key, MAX_TELEMETRY_NAME_CHARS), textOf(value)]] : [],
    );
}

/** An OTLP AnyValue as the JSON value it stands for. An empty one (JavaScript's null) and bytes read as null. */
export function anyValue(value: unknown, depth: number): unknown {
  if (!isObject(value) || depth > MAX_VALUE_DEPTH) return null;
  if (typeof value['stringValue'] === 'string') return clip(value['stringValue']);
  if (typeof value['boolValue'] === 'boolean') return value['boolValue'];
  if (typeof value['doubleValue'] === 'number') return value['doubleValue'];
  if ('intValue' in value) return integer(value['intValue']);
  if (isObject(value['arrayValue']))
    return objects(value['arrayValue']['values'])
      .slice(0, MAX_TELEMETRY_ATTRIBUTES)
      .map((item) => anyValue(item, depth + 1));
  if (isObject(value['kvlistValue'])) return attributesOf(value['kvlistValue']['values'], depth + 1);
  return null;
}

/** 64-bit integers travel as strings; those that a number holds exactly become one. */
function integer(value: unknown): unknown {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || !/^-?\d{1,20}$/.test(value)) return null;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** A number that may travel as text; undefined for anything else. */
export function numberOf(value: unknown): number | undefined {
  if (typeof value !== 'number' && !(typeof value === 'string' && /^-?\d{1,20}$/.test(value))) return undefined;
  const number = Number(value);
  return Number.isFinite(number) ? number : undefined;
}

/** Nanoseconds since the epoch; 0 for anything that is none. */
export function nanoseconds(value: unknown): bigint {
  if (typeof value === 'string' && /^\d{1,19}$/.test(value)) return BigInt(value);
  if (typeof value === 'number' && value > 0 && value < 2 ** 63) return BigInt(Math.trunc(value));
  return 0n;
}

/** A trace or span id; empty ones and those of zeros only mean that there is none. */
export function hexId(value: unknown): string | undefined {
  return typeof value === 'string' && value.length <= 64 && /^[0-9a-f]+$/i.test(value) && !/^0+$/.test(value)
    ? value.toLowerCase()
    : undefined;
}

/** An AnyValue as text of bounded length. */
export function textOf(value: unknown): string {
  const read = anyValue(value, 0);
  return typeof read === 'string' ? read : clip(asText(read));
}

export function asText(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === null || value === undefined ? '' : (JSON.stringify(value) ?? '');
}

/** Colour and cursor sequences of terminals. */
const ESCAPE_SEQUENCES = /\u001b\[[0-9;?]*[ -/]*[@-~]/g;

/** Text of bounded length without colours. */
export function clip(text: string, maxChars = MAX_TELEMETRY_CHARS): string {
  const plain = text.includes('\u001b') ? text.replace(ESCAPE_SEQUENCES, '') : text;
  if (plain.length <= maxChars) return plain;
  // Copied: a slice would keep the whole text in memory.
  return Buffer.from(`${plain.slice(0, maxChars)}… (${plain.length - maxChars} more characters)`).toString();
}

/** A name: '' when it is no text. */
export function nameOf(value: unknown): string {
  return typeof value === 'string' ? clip(value, MAX_TELEMETRY_NAME_CHARS) : '';
}
