/**
 * The scanner against JSON.parse, on documents spelt in every way that JSON allows and on damaged ones.
 * The counts are what a CI run can afford; TRINE_SCAN_RUNS=1000000 runs longer.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonSyntaxError, MAX_JSON_DEPTH, scanObject, type ObjectSpans } from './scan.js';

const RUNS = Number(process.env['TRINE_SCAN_RUNS'] ?? 100_000);
/** Damaged documents are dearer (the place of the fault is checked too). */
const DAMAGED_RUNS = RUNS * 0.4;
const TIMEOUT_MS = 120_000 + RUNS;

type Scanned = { readonly spans: ObjectSpans | undefined } | { readonly fault: JsonSyntaxError };

function scan(text: string): Scanned {
  try {
    return { spans: scanObject(text) };
  } catch (error) {
    if (error instanceof JsonSyntaxError) return { fault: error };
    throw error;
  }
}

function parse(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

/** Throws where the scanner and JSON.parse see a text differently. Plain comparisons: it runs often. */
function compare(text: string): 'accepted' | 'refused' {
  const scanned = scan(text);
  const parsed = parse(text);
  if ('fault' in scanned) {
    const { position, message } = scanned.fault;
    if (message.startsWith('Nesting deeper')) {
      if (!isDeep(text, position)) throw new Error(`called too deep: ${JSON.stringify(text)}`);
    } else if (parsed !== undefined) throw new Error(`refused (${message}): ${JSON.stringify(text)}`);
    // The position is that of the first character with which no document can go on.
    const rest = scan(text.slice(0, position));
    if ('fault' in rest && rest.fault.position !== position)
      throw new Error(`${message}, yet ${rest.fault.message}: ${JSON.stringify(text)}`);
    return 'refused';
  }
  if (parsed === undefined) throw new Error(`accepted: ${JSON.stringify(text)}`);
  compareSpans(text, scanned.spans, parsed.value);
  return 'accepted';
}

function compareSpans(text: string, spans: ObjectSpans | undefined, value: unknown): void {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  if ((spans !== undefined) !== isObject) throw new Error(`taken for another kind: ${JSON.stringify(text)}`);
  if (spans === undefined) return;
  const members = new Map(spans.keys.map((key, i) => [key, text.slice(spans.starts[i], spans.ends[i])]));
  const expected = new Map(Object.entries(value as object));
  if (members.size !== expected.size) throw new Error(`other members: ${JSON.stringify(text)}`);
  for (const [key, raw] of members) {
    if (raw !== raw.trim() || JSON.stringify(JSON.parse(raw)) !== JSON.stringify(expected.get(key)))
      throw new Error(`another value of ${JSON.stringify(key)}: ${JSON.stringify(text)}`);
  }
}

/** Are more brackets open at this position than may be? Strings before it are whole: it is the first fault. */
function isDeep(text: string, position: number): boolean {
  let depth = 0;
  for (const [token] of text.slice(0, position + 1).matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/g)) {
    if (token === '[' || token === '{') depth++;
    else if (token === ']' || token === '}') depth--;
  }
  return depth > MAX_JSON_DEPTH;
}

const space = fc.constantFrom('', '', '', '', ' ', '\n', '\t', '\r\n', '  ');
const number = fc.oneof(
  fc.constantFrom('0', '-0', '1', '-1', '1.0', '0.10', '1e5', '1E+5', '-1.5e-7', '0e0', '1e999', '9007199254740993'),
  fc.stringMatching(/^-?(0|[1-9]\d{0,20})(\.\d{1,5})?([eE][+-]?\d{1,3})?$/),
);
const character = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom('a', 'b', ' ', '{', '}', '[', ']', ',', ':', "'", '/', '\u007f', 'é', '漢', '😀'),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom('\\"', '\\\\', '\\/', '\\b', '\\f', '\\n', '\\r', '\\t', '\\u0000', '\\uD83D'),
  },
  { weight: 1, arbitrary: fc.stringMatching(/^\\u[\da-fA-F]{4}$/) },
  { weight: 1, arbitrary: fc.constantFrom('\ud800', '\udc00', '\u2028', '\u2029', '\ufeff', '\ufffd') },
);
const string = fc.array(character, { maxLength: 6 }).map((parts) => `"${parts.join('')}"`);
const key = fc.oneof(
  { weight: 3, arbitrary: string },
  {
    weight: 2,
    arbitrary: fc.constantFrom('"type"', '"data"', '"__proto__"', '"constructor"', '"a"', '"\\u0061"', '""'),
  },
);
const leaf = fc.oneof(number, string, fc.constantFrom('null', 'true', 'false'));

/** JSON texts, not printed values: any spelling, any spaces, duplicate keys. */
const { value } = fc.letrec<{ value: string; array: string; object: string }>((tie) => ({
  value: fc.oneof({ maxDepth: 4, withCrossShrink: true }, leaf, tie('array'), tie('object')),
  array: fc
    .array(fc.tuple(space, tie('value'), space), { maxLength: 4 })
    .map((items) => `[${items.map((item) => item.join('')).join(',')}]`),
  object: fc
    .array(fc.tuple(space, key, space, fc.constant(':'), space, tie('value'), space), { maxLength: 4 })
    .map((members) => `{${members.map((member) => member.join('')).join(',')}}`),
}));
const object = fc
  .array(fc.tuple(space, key, space, fc.constant(':'), space, value, space), { maxLength: 5 })
  .map((members) => `{${members.map((member) => member.join('')).join(',')}}`);
const document = fc.tuple(space, fc.oneof(object, value), space).map((parts) => parts.join(''));

const junk = fc.constantFrom(
  '', '"', '\\', '{', '}', '[', ']', ',', ':', '\u0000', '\u001f', '\u00a0', '\u2028', '\ufeff', 'e', 'E', '.', '-', '+', '0',
  'NaN', 'Infinity', '-Infinity', 'undefined', 'tru', 'nul', '\\u12', '\\x', '\\ud', "'", '//', '/*', '\ud800', '1_0', '0x1',
); // prettier-ignore

describe('the scanner, compared with JSON.parse', () => {
  it(
    `sees ${RUNS} documents as it does`,
    () => {
      fc.assert(
        fc.property(document, (text) => compare(text) === 'accepted'),
        { numRuns: RUNS },
      );
    },
    TIMEOUT_MS,
  );

  it(
    `sees ${DAMAGED_RUNS} damaged documents as it does, and says where the fault is`,
    () => {
      const damage = fc.record({ at: fc.nat(), cut: fc.nat(4), put: junk, sign: fc.constantFrom(...'{}[]:,"') });
      let refused = 0;
      fc.assert(
        fc.property(document, damage, (text, { at, cut, put, sign }) => {
          const place = at % (text.length + 1);
          if (compare(text.slice(0, place) + put + text.slice(place + cut)) === 'refused') refused++;
          // One sign of the structure for another.
          const signs = [...text.matchAll(/[{}[\]:,"]/g)];
          const where = signs[at % Math.max(1, signs.length)]?.index;
          if (where !== undefined) compare(text.slice(0, where) + sign + text.slice(where + 1));
        }),
        { numRuns: DAMAGED_RUNS },
      );
      expect(refused).toBeGreaterThan(DAMAGED_RUNS / 3);
    },
    TIMEOUT_MS,
  );

  it(
    'sees texts of nothing but syntax as it does',
    () => {
      const token = fc.oneof(junk, leaf, key, fc.constantFrom('{', '}', '[', ']', ',', ':', ' '));
      fc.assert(
        fc.property(fc.array(token, { maxLength: 8 }), (tokens) => {
          compare(tokens.join(''));
        }),
        { numRuns: DAMAGED_RUNS },
      );
    },
    TIMEOUT_MS,
  );

  it('sees texts of the length at which it reads them from another place as it does', () => {
    const edge = 256 * 1024;
    const long = fc.record({
      text: value,
      by: fc.integer({ min: -40, max: 40 }),
      fill: fc.constantFrom('x', 'ü', '漢'),
    });
    fc.assert(
      fc.property(long, junk, ({ text, by, fill }, damage) => {
        const frame = (tail: string): string => `{"v":${text},"pad":"${fill.repeat(edge + by)}"${tail}}`;
        expect(compare(frame(''))).toBe('accepted');
        compare(frame(damage));
        compare(text); // nothing of the long one is left
      }),
      { numRuns: 200 },
    );
  });

  it(`agrees to a depth of ${MAX_JSON_DEPTH}, of arrays and objects in any mix`, () => {
    const brackets = fc.array(fc.boolean(), { minLength: MAX_JSON_DEPTH - 6, maxLength: MAX_JSON_DEPTH + 6 });
    fc.assert(
      fc.property(brackets, leaf, (levels, inner) => {
        const open = levels.map((isArray) => (isArray ? '[' : '{"a":')).join('');
        const close = levels
          .map((isArray) => (isArray ? ']' : '}'))
          .reverse()
          .join('');
        const verdict = compare(open + inner + close);
        expect(verdict).toBe(levels.length <= MAX_JSON_DEPTH ? 'accepted' : 'refused');
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([1, 4])('sees every text of up to 3 characters as it does (from alphabet %i)', (alphabet) => {
    const letters =
      alphabet === 1
        ? ['{', '}', '[', ']', ',', ':', '"', ' ', '\n', '1', 'a']
        : ['-', '0', '1', '.', 'e', 'E', '+', ' ', '"', '\\', '\u0007'];
    for (const a of ['', ...letters])
      for (const b of letters) for (const c of letters) for (const d of ['', ...letters]) compare(a + b + c + d);
  });
});
