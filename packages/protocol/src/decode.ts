/**
 * Frames from a worker: text in, one `WorkerFrame` or `BadFrame` out. Never throws.
 *
 * Hot path for `invokefunction` and `invocationresult`: their payloads stay text. All other types
 * are rare and go through their zod schemas.
 */
import { z } from 'zod';
import type { ErrorBody } from './errors.js';
import {
  CALL,
  VOID,
  type Action,
  type BadFrame,
  type InvocationResultFrame,
  type InvokeFunctionFrame,
  type WorkerFrame,
} from './frames.js';
import { isUuid } from './ids.js';
import { ownText } from './own-text.js';
import { Payload } from './payload.js';
import { scanObject, unquote, type ObjectSpans } from './scan.js';

export function decodeFrame(text: string): WorkerFrame | BadFrame {
  let spans: ObjectSpans | undefined;
  try {
    spans = scanObject(text);
  } catch (error) {
    return salvage(text, (error as Error).message);
  }
  if (spans === undefined) return bad('a frame must be a JSON object');
  const reader = new MemberReader(text, spans);
  try {
    const type = reader.string('type');
    if (type === undefined) return bad('the field `type` is missing');
    switch (type) {
      case 'invokefunction':
        return decodeInvoke(reader);
      case 'invocationresult':
        return decodeResult(reader);
      default:
        return decodeRare(type, reader);
    }
  } catch (error) {
    return bad((error as Error).message, reader);
  }
}

/** Reads members of one frame by name; a null member reads as absent. */
class MemberReader {
  readonly #text: string;
  readonly #spans: ObjectSpans;

  constructor(text: string, spans: ObjectSpans) {
    this.#text = text;
    this.#spans = spans;
  }

  /** The last member of that name. Most keys are pointers to the same text: see `KEY_NAMES`. */
  #find(key: string): number {
    const { keys } = this.#spans;
    let at = keys.length - 1;
    while (at >= 0 && keys[at] !== key) at--;
    return at;
  }

  /** The raw JSON of a member; null and absent are one unless `keepNull`. */
  raw(key: string, keepNull = false): string | undefined {
    const at = this.#find(key);
    if (at < 0) return undefined;
    const raw = this.#text.slice(this.#spans.starts[at], this.#spans.ends[at]);
    return raw === 'null' && !keepNull ? undefined : raw;
  }

  string(key: string): string | undefined {
    const at = this.#find(key);
    if (at < 0) return undefined;
    const start = this.#spans.starts[at] as number;
    const end = this.#spans.ends[at] as number;
    if (this.#text.charCodeAt(start) !== 0x22) {
      if (this.#text.startsWith('null', start)) return undefined;
      throw new Error(`the field \`${key}\` must be a string`);
    }
    return ownText(unquote(this.#text, start, end), this.#text.length);
  }

  required(key: string): string {
    const value = this.string(key);
    if (value === undefined || value === '') throw new Error(`the field \`${key}\` is missing`);
    return value;
  }

  payload(key: string): Payload | undefined {
    const raw = this.raw(key);
    return raw === undefined ? undefined : Payload.fromJson(raw);
  }

  /** All members but the payload ones, parsed. */
  parsed(except: readonly string[]): Record<string, unknown> {
    const out: Record<string, unknown> = {};
    this.#spans.keys.forEach((key, i) => {
      if (key === '__proto__' || except.includes(key)) return;
      const value: unknown = JSON.parse(this.#text.slice(this.#spans.starts[i], this.#spans.ends[i]));
      if (value !== null) out[key] = value;
    });
    return out;
  }
}

function decodeInvoke(reader: MemberReader): InvokeFunctionFrame {
  const invocationId = reader.string('invocation_id');
  if (invocationId !== undefined && !isUuid(invocationId)) throw new Error('the field `invocation_id` must be a UUID');
  return {
    type: 'invokefunction',
    functionId: reader.required('function_id'),
    data: reader.payload('data') ?? Payload.null,
    invocationId,
    traceparent: reader.string('traceparent') || undefined,
    baggage: reader.string('baggage') || undefined,
    action: decodeAction(reader.raw('action')),
    metadata: reader.payload('metadata'),
    namespace: reader.string('namespace'),
  };
}

function decodeAction(raw: string | undefined): Action {
  if (raw === undefined) return CALL;
  const action = JSON.parse(raw) as Record<string, unknown>;
  if (action['type'] === 'void') return VOID;
  if (action['type'] === 'enqueue' && typeof action['queue'] === 'string') {
    return { type: 'enqueue', queue: action['queue'] };
  }
  throw new Error('the field `action` must be {"type":"void"} or {"type":"enqueue","queue":"<name>"}');
}

function decodeResult(reader: MemberReader): InvocationResultFrame {
  const error = reader.raw('error');
  const result = reader.raw('result', true);
  return {
    type: 'invocationresult',
    invocationId: reader.required('invocation_id'),
    result: result === undefined ? undefined : Payload.fromJson(result),
    error: error === undefined ? undefined : decodeError(error),
  };
}

function decodeError(raw: string): ErrorBody {
  const parsed = errorSchema.safeParse(JSON.parse(raw));
  if (!parsed.success) return { code: 'invocation_failed', message: raw };
  const { code, message, stacktrace } = parsed.data;
  return stacktrace === undefined || stacktrace === null ? { code, message } : { code, message, stacktrace };
}

const id = z.string().min(1);
const errorSchema = z.object({ code: z.string(), message: z.string(), stacktrace: z.string().nullish() });

const registerFunctionSchema = z.object({
  id,
  description: z.string().optional(),
  request_format: z.unknown().optional(),
  response_format: z.unknown().optional(),
  metadata: z.unknown().optional(),
  invocation: z.unknown().optional(),
});
const registerTriggerTypeSchema = z.object({
  id,
  description: z.string().default(''),
  trigger_request_format: z.unknown().optional(),
  call_request_format: z.unknown().optional(),
  namespace: z.string().optional(),
});
const registerTriggerSchema = z.object({
  id,
  trigger_type: id,
  function_id: id,
  namespace: z.string().optional(),
  trigger_namespace: z.string().optional(),
});
const registrationResultSchema = z.object({
  id,
  trigger_type: z.string().default(''),
  function_id: z.string().default(''),
  error: errorSchema.optional(),
});
const reattachSchema = z.object({ previous_worker_id: z.string(), reattach_token: z.string().optional() });
const idSchema = z.object({ id, namespace: z.string().optional() });

function decodeRare(type: string, reader: MemberReader): WorkerFrame {
  switch (type) {
    case 'registerfunction': {
      const f = parse(registerFunctionSchema, reader.parsed([]));
      return {
        type,
        id: f.id,
        description: f.description,
        requestFormat: f.request_format,
        responseFormat: f.response_format,
        metadata: f.metadata,
        invocation: f.invocation,
      };
    }
    case 'unregisterfunction':
      return { type, id: parse(idSchema, reader.parsed([])).id };
    case 'registertriggertype': {
      const f = parse(registerTriggerTypeSchema, reader.parsed([]));
      return {
        type,
        id: f.id,
        description: f.description,
        triggerRequestFormat: f.trigger_request_format,
        callRequestFormat: f.call_request_format,
        namespace: f.namespace,
      };
    }
    case 'unregistertriggertype': {
      const f = parse(idSchema, reader.parsed([]));
      return { type, id: f.id, namespace: f.namespace };
    }
    case 'registertrigger': {
      const f = parse(registerTriggerSchema, reader.parsed(['config', 'metadata']));
      return {
        type,
        id: f.id,
        triggerType: f.trigger_type,
        functionId: f.function_id,
        config: reader.payload('config') ?? Payload.null,
        metadata: reader.payload('metadata'),
        namespace: f.namespace,
        triggerNamespace: f.trigger_namespace,
      };
    }
    case 'unregistertrigger':
      return { type, id: parse(idSchema, reader.parsed([])).id };
    case 'triggerregistrationresult': {
      const f = parse(registrationResultSchema, reader.parsed([]));
      return {
        type,
        id: f.id,
        triggerType: f.trigger_type,
        functionId: f.function_id,
        error: f.error === undefined ? undefined : { code: f.error.code, message: f.error.message },
      };
    }
    case 'reattach': {
      const f = parse(reattachSchema, reader.parsed([]));
      return { type, previousWorkerId: f.previous_worker_id, reattachToken: f.reattach_token };
    }
    case 'ping':
      return { type };
    case 'pong':
    case 'registerservice':
    case 'workerregistered':
    case 'registrationrejected':
      return { type: 'ignored', name: type };
    default:
      return { type: 'unknown', name: type };
  }
}

function parse<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new Error(`the field \`${issue?.path.join('.') ?? ''}\`: ${issue?.message ?? 'is not valid'}`);
}

function bad(message: string, reader?: MemberReader): BadFrame {
  return {
    type: 'bad',
    code: 'invalid_frame',
    message,
    frameType: reader && quietly(() => reader.string('type')),
    invocationId: reader && quietly(() => reader.string('invocation_id')),
    functionId: reader && quietly(() => reader.string('function_id')),
  };
}

function quietly<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** The text is not JSON: find who waits for an answer, so that bad input never meets silence. */
function salvage(text: string, message: string): BadFrame {
  const envelope = shallow(text);
  // The last of duplicates counts, as everywhere.
  const pick = (key: string): string | undefined =>
    [...envelope.matchAll(new RegExp(`"${key}"\\s*:\\s*"([^"\\\\]*)"`, 'g'))].at(-1)?.[1];
  const invocationId = pick('invocation_id');
  return {
    type: 'bad',
    code: 'invalid_json',
    message,
    frameType: pick('type'),
    invocationId: invocationId !== undefined && isUuid(invocationId) ? invocationId : undefined,
    functionId: pick('function_id'),
  };
}

/** A broken text without what lies inside its members: ids in a payload are not those of the frame. */
function shallow(text: string): string {
  let kept = '';
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22: // "
        for (i++; i < text.length && text.charCodeAt(i) !== 0x22; i++) if (text.charCodeAt(i) === 0x5c) i++;
        break;
      case 0x7b: // {
      case 0x5b: // [
        if (++depth === 2) kept += text.slice(from, i);
        break;
      case 0x7d: // }
      case 0x5d: // ]
        if (depth-- === 2) from = i + 1;
        break;
    }
  }
  return depth < 2 ? kept + text.slice(from) : kept;
}
