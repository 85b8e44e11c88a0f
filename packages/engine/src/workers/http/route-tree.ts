/**
 * Paths to values: a tree with one level per segment, in which a literal goes before a parameter and
 * a parameter before a catch-all, with backtracking. Segments are compared raw.
 *
 * Hot path: one map look-up per segment, no allocation besides the parameter values. Every node
 * lies at one depth, so a search visits it at most once, whatever was registered. Guarded by the
 * 10,000-routes row of the benchmarks.
 */
import { PARAMETER, REST, type Segment } from './path-pattern.js';

export interface Match<T> {
  readonly value: T;
  /** What parameters and catch-all took, in order, as the request spelt it. */
  readonly taken: readonly string[];
}

class Node<T> {
  readonly literals = new Map<string, Node<T>>();
  parameter: Node<T> | undefined;
  rest: Node<T> | undefined;
  value: T | undefined;

  get isEmpty(): boolean {
    return (
      this.value === undefined && this.literals.size === 0 && this.parameter === undefined && this.rest === undefined
    );
  }
}

export class RouteTree<T> {
  readonly #root = new Node<T>();

  /** The value at a shape; made when there is none. */
  ensure(segments: readonly Segment[], make: () => T): T {
    let node = this.#root;
    for (const segment of segments) {
      if (segment === PARAMETER) node = node.parameter ??= new Node();
      else if (segment === REST) node = node.rest ??= new Node();
      else {
        let next = node.literals.get(segment);
        if (next === undefined) node.literals.set(segment, (next = new Node()));
        node = next;
      }
    }
    return (node.value ??= make());
  }

  /** Takes the value at a shape away, and the branches that only led to it. */
  remove(segments: readonly Segment[]): void {
    const trail: Node<T>[] = [this.#root];
    for (const segment of segments) {
      const next = child(trail[trail.length - 1] as Node<T>, segment);
      if (next === undefined) return;
      trail.push(next);
    }
    (trail[segments.length] as Node<T>).value = undefined;
    for (let depth = segments.length; depth > 0 && (trail[depth] as Node<T>).isEmpty; depth--) {
      const parent = trail[depth - 1] as Node<T>;
      const segment = segments[depth - 1] as Segment;
      if (segment === PARAMETER) parent.parameter = undefined;
      else if (segment === REST) parent.rest = undefined;
      else parent.literals.delete(segment);
    }
  }

  /** @param path - of a request, beginning with a slash, without its query */
  find(path: string): Match<T> | undefined {
    if (path.charCodeAt(0) !== SLASH) return undefined;
    const taken: string[] = [];
    const value = search(this.#root, path, 1, taken);
    return value === undefined ? undefined : { value, taken };
  }
}

const SLASH = 47;

function search<T>(node: Node<T>, path: string, from: number, taken: string[]): T | undefined {
  const slash = path.indexOf('/', from);
  const last = slash < 0;
  const segment = path.slice(from, last ? path.length : slash);

  const literal = node.literals.get(segment);
  if (literal !== undefined) {
    const value = last ? literal.value : search(literal, path, slash + 1, taken);
    if (value !== undefined) return value;
  }

  // An empty segment is a parameter's value in the middle of a path, not at its end.
  const { parameter } = node;
  if (parameter !== undefined && (!last || segment !== '')) {
    taken.push(segment);
    const value = last ? parameter.value : search(parameter, path, slash + 1, taken);
    if (value !== undefined) return value;
    taken.pop();
  }

  const { rest } = node;
  if (rest?.value !== undefined && from < path.length) {
    taken.push(path.slice(from));
    return rest.value;
  }
  return undefined;
}

function child<T>(node: Node<T>, segment: Segment): Node<T> | undefined {
  if (segment === PARAMETER) return node.parameter;
  if (segment === REST) return node.rest;
  return node.literals.get(segment);
}
