import { isDeepStrictEqual } from 'node:util';
import { isMap, isNode, isScalar, isSeq, type Document, type Node, type Pair, type YAMLMap, type YAMLSeq } from 'yaml';

/**
 * Makes a YAML block hold `value`, touching only what differs, so that comments, quotes and order of
 * the rest stay. A comment above a key that goes stays with what follows it.
 */
export function mergeInto(doc: Document, node: YAMLMap, value: Readonly<Record<string, unknown>>): void {
  if (node.items.length === 0) node.flow = false; // `{}` has no style of its own to keep
  for (const pair of [...node.items] as Pair<Node, Node | null>[]) {
    const key = keyOf(pair);
    if (Object.hasOwn(value, key) && value[key] !== undefined) pair.value = merged(doc, pair.value, value[key]);
    else remove(node, pair);
  }
  const present = new Set((node.items as Pair<Node, Node | null>[]).map(keyOf));
  for (const [key, item] of Object.entries(value)) {
    if (!present.has(key) && item !== undefined) node.items.push(doc.createPair(key, item));
  }
}

function merged(doc: Document, node: Node | null, value: unknown): Node {
  if (isNode(node) && isDeepStrictEqual(node.toJS(doc), value)) return node;
  if (isMap(node) && typeof value === 'object' && value !== null && !Array.isArray(value)) {
    mergeInto(doc, node, value as Record<string, unknown>);
    if (node.items.length === 0) node.flow = true;
    return node;
  }
  if (isSeq(node) && Array.isArray(value)) {
    mergeList(doc, node, value);
    return node;
  }
  if (isScalar(node) && (typeof value !== 'object' || value === null)) {
    node.value = value;
    delete node.format;
    delete node.minFractionDigits;
    return node;
  }
  const created = doc.createNode(value) as Node;
  if (isNode(node) && typeof node.commentBefore === 'string') created.commentBefore = node.commentBefore;
  return created;
}

/** Items that are still there keep their node; the list takes the order of `value`. */
function mergeList(doc: Document, seq: YAMLSeq, value: readonly unknown[]): void {
  if (seq.items.length === 0) seq.flow = false;
  const old = [...seq.items] as Node[];
  seq.items = value.map((item, index) => {
    const same = old.findIndex((each) => isNode(each) && isDeepStrictEqual(each.toJS(doc), item));
    if (same !== -1) return old.splice(same, 1)[0];
    const place = seq.items[index] as Node | undefined;
    const isFree =
      place !== undefined && old.includes(place) && !value.some((each) => isDeepStrictEqual(each, place.toJS(doc)));
    if (!isFree) return doc.createNode(item);
    old.splice(old.indexOf(place), 1);
    return merged(doc, place, item);
  });
  if (seq.items.length === 0) seq.flow = true;
}

function remove(node: YAMLMap, pair: Pair<Node, Node | null>): void {
  const index = (node.items as Pair<Node, Node | null>[]).indexOf(pair);
  node.items.splice(index, 1);
  const { commentBefore } = pair.key;
  if (typeof commentBefore !== 'string') return;
  const heir = (node.items[index] as Pair<Node, Node | null> | undefined)?.key;
  if (heir !== undefined) heir.commentBefore = above(commentBefore, heir.commentBefore);
  else node.comment = above(commentBefore, node.comment);
}

function keyOf(pair: Pair<Node, Node | null>): string {
  return String(isScalar(pair.key) ? pair.key.value : pair.key);
}

/** Two comments as one. */
export function above(upper: string, lower: string | null | undefined): string {
  return typeof lower === 'string' ? `${upper}\n${lower}` : upper;
}
