import { describe, expect, it } from 'vitest';
import type { SpanRecord } from '../../core/telemetry.js';
import { ROUTED_ATTRIBUTE } from './call-span.js';
import { matches, treeText } from './trace-tree.js';

interface Node {
  readonly name: string;
  readonly children: readonly Node[];
}
type Shape = readonly [string, ...Shape[]];

const span = (spanId: string, parentSpanId?: string, extra: Partial<SpanRecord> = {}): SpanRecord => ({
  traceId: 'aa',
  spanId,
  parentSpanId,
  name: spanId,
  startUnixNano: 1n,
  endUnixNano: 2n,
  status: 'ok',
  statusDescription: '',
  attributes: [],
  serviceName: 'svc',
  events: [],
  links: [],
  scopeName: '',
  scopeVersion: '',
  flags: undefined,
  traceState: '',
  ...extra,
});
const shape = (node: Node): Shape => [node.name, ...node.children.map(shape)];
const tree = (spans: SpanRecord[], rules: Parameters<typeof treeText>[1] = [], everything = false): Shape[] =>
  (JSON.parse(treeText(spans, rules, everything)) as Node[]).map(shape);

describe('the tree of a trace', () => {
  it('hangs spans below their parents, in the order of their start', () => {
    const late = { startUnixNano: 9n };
    expect(tree([span('c', 'a', late), span('b', 'a'), span('a'), span('d', 'gone'), span('e', 'b')])).toEqual([
      ['a', ['b', ['e']], ['c']],
      ['d'],
    ]);
    expect(tree([])).toEqual([]);
  });

  it('leaves out what is collapsed, and moves children up', () => {
    const spans = [span('a'), span('b', 'a'), span('c', 'b'), span('d', 'c')];
    expect(tree(spans, [{ name: 'b' }, { name: 'c', service: 's*' }])).toEqual([['a', ['d']]]);
    expect(tree(spans, [{ name: 'c', service: 'other' }])).toEqual([['a', ['b', ['c', ['d']]]]]);
    expect(tree(spans, [{ name: 'a' }])).toEqual([['b', ['c', ['d']]]]);
  });

  it('leaves out calls that the engine routed, unless they are asked for or all there is', () => {
    const routed = { attributes: [[ROUTED_ATTRIBUTE, 'true']] as const };
    const spans = [span('a'), span('call', 'a', routed), span('execute', 'a')];
    expect(tree(spans)).toEqual([['a', ['execute']]]);
    expect(tree(spans, [], true)).toEqual([['a', ['call'], ['execute']]]);
    expect(tree([span('call', 'a', routed)])).toEqual([['call']]);
  });

  it('shows spans that are their own ancestors once, and very deep ones', () => {
    expect(tree([span('a', 'b'), span('b', 'a'), span('c', 'c'), span('d', 'a')])).toEqual([
      ['a', ['b'], ['d']],
      ['c'],
    ]);
    const deep = Array.from({ length: 5_000 }, (_, n) => span(`s${n}`, n === 0 ? undefined : `s${n - 1}`));
    const text = treeText(deep, [], false);
    expect(text.match(/"span_id":/g)).toHaveLength(5_000);
    expect(() => JSON.parse(text) as unknown).not.toThrow();
  });

  it('matches names with * and ?', () => {
    expect(matches('call *::get', 'call state::get')).toBe(true);
    expect(matches('a?c', 'abc')).toBe(true);
    expect(matches('a?c', 'ac')).toBe(false);
    expect(matches('*', '')).toBe(true);
    expect(matches('abc', 'abcd')).toBe(false);
    expect(matches(`${'*a'.repeat(50)}b`, 'a'.repeat(5_000))).toBe(false);
  });
});
