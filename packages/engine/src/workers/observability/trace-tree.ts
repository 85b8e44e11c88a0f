/** `engine::traces::tree`: the spans of one trace, each below the one that caused it. */
import type { SpanRecord } from '../../core/telemetry.js';
import { ROUTED_ATTRIBUTE, attributeOf } from './call-span.js';
import { spanMembers } from './json-text.js';
import { byStart } from './trace-list.js';

/** Deeper spans hang below the one at this depth: readers of the answer recurse. */
const MAX_TREE_DEPTH = 128;

/** Spans to leave out of trees, by name and service with `*` and `?`; their children move up. */
export interface CollapseRule {
  readonly name: string;
  readonly service?: string | undefined;
}

interface Node {
  readonly span: SpanRecord;
  readonly children: Node[];
}

/**
 * The roots as JSON text.
 *
 * @param trace - the spans of one trace
 * @param everything - the engine's records of calls to workers too; else only where there is nothing else
 */
export function treeText(trace: readonly SpanRecord[], rules: readonly CollapseRule[], everything: boolean): string {
  const told = everything ? trace : trace.filter((span) => attributeOf(span, ROUTED_ATTRIBUTE) === undefined);
  const spans = told.length === 0 ? trace : told;
  const nodes = new Map<string, Node>();
  for (const span of [...spans].sort(byStart)) nodes.set(span.spanId, { span, children: [] });
  const collapsed = new Set<string>();
  for (const { span } of nodes.values()) if (rules.some((rule) => isCollapsed(span, rule))) collapsed.add(span.spanId);
  const shown = [...nodes.values()].filter(({ span }) => !collapsed.has(span.spanId));
  const roots: Node[] = [];
  for (const node of shown) (parentOf(node, nodes, collapsed)?.children ?? roots).push(node);
  cutCycles(shown, roots);
  return `[${roots.map((root) => nodeText(root, 1)).join(',')}]`;
}

/** The nearest ancestor that is shown. */
function parentOf(node: Node, nodes: ReadonlyMap<string, Node>, collapsed: ReadonlySet<string>): Node | undefined {
  const seen = new Set<string>();
  let id = node.span.parentSpanId;
  while (id !== undefined && collapsed.has(id) && !seen.has(id)) {
    seen.add(id);
    id = nodes.get(id)?.span.parentSpanId;
  }
  return id === undefined || collapsed.has(id) ? undefined : nodes.get(id);
}

/** Spans that name each other as parents hang below no root: one of each circle becomes one. */
function cutCycles(nodes: readonly Node[], roots: Node[]): void {
  const reached = new Set<Node>();
  const reach = (from: Node): void => {
    const waiting = [from];
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      reached.add(node);
      waiting.push(...node.children.filter((child) => !reached.has(child)));
    }
  };
  for (const root of [...roots]) reach(root);
  for (const node of nodes) {
    if (reached.has(node)) continue;
    const parent = nodes.find(({ children }) => children.includes(node));
    parent?.children.splice(parent.children.indexOf(node), 1);
    roots.push(node);
    reach(node);
  }
}

function nodeText(node: Node, depth: number): string {
  const members = spanMembers(node.span);
  if (depth < MAX_TREE_DEPTH) {
    return `{${members},"children":[${node.children.map((child) => nodeText(child, depth + 1)).join(',')}]}`;
  }
  const below = descendants(node).map(({ span }) => `{${spanMembers(span)},"children":[]}`);
  return `{${members},"children":[${below.join(',')}]}`;
}

function descendants(node: Node): Node[] {
  const found: Node[] = [];
  const waiting = [...node.children];
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    found.push(next);
    waiting.push(...next.children);
  }
  return found;
}

function isCollapsed(span: SpanRecord, rule: CollapseRule): boolean {
  return matches(rule.name, span.name) && (rule.service === undefined || matches(rule.service, span.serviceName));
}

/** `*` stands for any text, `?` for any character. Without a regular expression: the pattern is foreign. */
export function matches(pattern: string, text: string): boolean {
  let at = 0;
  let from = 0;
  let star = -1;
  let mark = 0;
  while (at < text.length) {
    if (pattern[from] === '*') {
      star = from++;
      mark = at;
    } else if (from < pattern.length && (pattern[from] === '?' || pattern[from] === text[at])) {
      from++;
      at++;
    } else if (star >= 0) {
      from = star + 1;
      at = ++mark;
    } else {
      return false;
    }
  }
  while (pattern[from] === '*') from++;
  return from === pattern.length;
}
