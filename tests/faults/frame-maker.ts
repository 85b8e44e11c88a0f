import type { SeededRandom } from '../support/seeded-random.js';

/** One frame to send, and what has to come back. */
export interface BadFrame {
  readonly bytes: string | Buffer;
  /** Set when exactly one answer must come under this id. */
  readonly answerTo?: string;
}

const DEEP = 10_000;
const LONG = 20_000;

/** Valid frames of all types, in names that only this client uses: the material for damage. */
const TEMPLATES: readonly Readonly<Record<string, unknown>>[] = [
  { type: 'invokefunction', invocation_id: '', function_id: 'victim::echo', data: { a: [1, 2, { b: null }] } },
  { type: 'invokefunction', function_id: 'victim::echo', data: { a: 1 }, action: { type: 'void' } },
  {
    type: 'invokefunction',
    invocation_id: '',
    function_id: 'fuzz::absent',
    data: {},
    action: { type: 'enqueue', queue: 'default' },
  },
  { type: 'invokefunction', invocation_id: '', function_id: 'state::set', data: { scope: 'fuzz', key: 'k', value: 1 } },
  {
    type: 'invokefunction',
    invocation_id: '',
    function_id: 'state::update',
    data: { scope: 'fuzz', key: 'u', ops: [{ type: 'merge', path: 'a', value: {} }] },
  },
  {
    type: 'invokefunction',
    invocation_id: '',
    function_id: 'iii::durable::publish',
    data: { topic: 'fuzz', data: {} },
  },
  { type: 'invokefunction', invocation_id: '', function_id: 'publish', data: { topic: 'fuzz', data: {} } },
  { type: 'invokefunction', invocation_id: '', function_id: 'engine::functions::list', data: {} },
  {
    type: 'invokefunction',
    invocation_id: '',
    function_id: 'engine::workers::register',
    data: { name: 'fuzz', runtime: 'node', version: '1' },
  },
  {
    type: 'invocationresult',
    invocation_id: '00000000-0000-4000-8000-0000000f0000',
    function_id: 'victim::echo',
    result: 1,
  },
  {
    type: 'registerfunction',
    id: 'fuzz::function',
    description: 'd',
    request_format: { type: 'object' },
    metadata: {},
  },
  { type: 'unregisterfunction', id: 'fuzz::function' },
  { type: 'registertriggertype', id: 'fuzz-type', description: 'd' },
  { type: 'unregistertriggertype', id: 'fuzz-type' },
  {
    type: 'registertrigger',
    id: 'fuzz-trigger',
    trigger_type: 'http',
    function_id: 'fuzz::function',
    config: { api_path: 'fuzz/:id' },
  },
  {
    type: 'registertrigger',
    id: 'fuzz-sub',
    trigger_type: 'subscribe',
    function_id: 'fuzz::function',
    config: { topic: 'fuzz' },
  },
  { type: 'unregistertrigger', id: 'fuzz-trigger' },
  {
    type: 'triggerregistrationresult',
    id: 'fuzz-trigger',
    trigger_type: 'http',
    function_id: 'fuzz::function',
    error: { code: 'c', message: 'm' },
  },
  { type: 'reattach', previous_worker_id: '00000000-0000-4000-8000-000000000000', reattach_token: 't' },
  { type: 'registerservice', id: 'fuzz' },
  { type: 'ping' },
];

/** JSON texts to put where another value belongs. */
const VALUES = [
  'null', 'true', '0', '-0', '1e999', '-1', '1.5', '9007199254740993', '""', '" "', '"\\u0000"', '"\\ud800"', '[]', '{}', '[[]]', '[null]',
  '{"__proto__":{"polluted":true}}', '{"constructor":{"prototype":{"polluted":true}}}', '{"toString":1}', '"__proto__"', '"constructor"',
  '{"type":"void"}', '{"type":"enqueue"}', '{"type":"enqueue","queue":5}', '{"type":"enqueue","queue":"no-such-queue"}', '{"type":7}', '{"type":"later"}',
]; // prettier-ignore

/** Not JSON at all. */
const JUNK = [
  'NaN',
  'Infinity',
  'undefined',
  "{'a':1}",
  '{a:1}',
  '{"a":1,}',
  '{"a"',
  '[',
  '',
  ' ',
  '\u0000',
  '{"type":"ping"}{"type":"ping"}',
  '\ufeff{"type":"ping"}',
  'true',
  '1',
  'null',
  '"ping"',
  '[]',
  '{}',
  '{"type":null}',
  '{"type":[]}',
  '{"type":"nope"}',
];

/**
 * First groups of ids. Damage may turn an id into another one that is whole, and the engine answers to
 * that: it must never be the id of a call whose answers are counted.
 */
const ANSWERED = 'cccccccc';
const DAMAGED = '00000000';

/** Makes frames that no SDK would send. The same seed makes the same frames. */
export class FrameMaker {
  readonly #random: SeededRandom;
  #ids = 0;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  next(): BadFrame {
    const pick = this.#random.between(0, 99);
    if (pick < 40) return this.#answerable();
    if (pick < 65) return { bytes: this.#withChangedMember() };
    if (pick < 80) return { bytes: this.#damaged(this.#withChangedMember()) };
    if (pick < 87) return { bytes: this.#random.pick(JUNK) };
    if (pick < 90) return { bytes: this.#deep() };
    return { bytes: this.#binary() };
  }

  /** A call whose type and id are whole: whatever else is wrong with it, its caller waits for one answer. */
  #answerable(): BadFrame {
    const id = this.#id(ANSWERED);
    const members = [`"type":"invokefunction"`, `"invocation_id":"${id}"`];
    const template = this.#random.pick(TEMPLATES.slice(2, 9));
    for (const [name, value] of Object.entries({
      ...template,
      action: undefined,
      metadata: undefined,
      namespace: undefined,
      traceparent: undefined,
    })) {
      if (name === 'type' || name === 'invocation_id') continue;
      const text = this.#random.chance(0.5) ? this.#value() : JSON.stringify(value);
      // A call that says it wants no answer gets none.
      if (text !== undefined && !(name === 'action' && text === '{"type":"void"}')) members.push(`"${name}":${text}`);
    }
    return { bytes: `{${this.#shuffled(members).join(',')}}`, answerTo: id };
  }

  #withChangedMember(): string {
    const template = this.#random.pick(TEMPLATES);
    const members = Object.entries(template).map(
      ([name, value]) =>
        `"${name}":${name === 'invocation_id' && value === '' ? `"${this.#id()}"` : JSON.stringify(value)}`,
    );
    const at = this.#random.between(0, members.length - 1);
    const name = Object.keys(template)[at] as string;
    switch (this.#random.between(0, 4)) {
      case 0:
        members.splice(at, 1);
        break;
      case 1:
        members[at] = `"${name}":${this.#value()}`;
        break;
      case 2:
        members.push(`"${name}":${this.#value()}`); // a duplicate key
        break;
      case 3:
        members.push(`"__proto__":${this.#value()}`, `"${'k'.repeat(this.#random.between(1, 300))}":${this.#value()}`);
        break;
      default:
        members[at] = `"${name}":"${'x'.repeat(this.#random.between(1, LONG))}"`;
    }
    return `{${this.#shuffled(members).join(',')}}`;
  }

  #damaged(text: string): string {
    const at = this.#random.between(0, text.length);
    const put = this.#random.pick([
      '',
      '"',
      '\\',
      '{',
      '}',
      ']',
      ',',
      ':',
      '\u0001',
      'NaN',
      '\\u12',
      '\ufffd',
      'e',
      '-',
    ]);
    return text.slice(0, at) + put + text.slice(at + this.#random.between(0, 6));
  }

  #deep(): string {
    const [open, close] = this.#random.pick([
      ['[', ']'],
      ['{"a":', '}'],
    ] as const);
    const nest = `${open.repeat(DEEP)}1${this.#random.chance(0.7) ? close.repeat(DEEP) : ''}`;
    return this.#random.chance(0.5)
      ? nest
      : `{"type":"invokefunction","invocation_id":"${this.#id()}","function_id":"victim::echo","data":${nest}}`;
  }

  /** Raw bytes, half of them under the marks of the SDKs' telemetry frames. */
  #binary(): Buffer {
    const bytes = Buffer.from(Array.from({ length: this.#random.between(0, 200) }, () => this.#random.between(0, 255)));
    return Buffer.concat([
      Buffer.from(this.#random.pick(['', '', 'OTLP', 'MTRC', 'LOGS', 'OTLP{', 'LOGS{"resourceLogs":'])),
      bytes,
    ]);
  }

  #value(): string {
    return this.#random.pick(VALUES);
  }

  #id(first = DAMAGED): string {
    return `${first}-0000-4000-8000-${(++this.#ids).toString(16).padStart(12, '0')}`;
  }

  #shuffled(members: readonly string[]): string[] {
    const shuffled = [...members];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const other = this.#random.between(0, i);
      [shuffled[i], shuffled[other]] = [shuffled[other] as string, shuffled[i] as string];
    }
    return shuffled;
  }
}
