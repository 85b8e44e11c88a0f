/**
 * The route table: who serves a method on a path.
 *
 * A route is `serving` (on top of the stack of its method and path), `covered` (below a newer one) or
 * `aside` (in conflict: same method and shape, other parameter names).
 *
 *   add -> serving | aside                      (aside: add throws)
 *   serving -> covered                          a newer route of the same method and path
 *   covered -> serving                          those above it are gone
 *   aside -> serving | covered                  the stack in its way is empty; the oldest goes first
 *   any -> gone                                 remove, or its trigger id is added again
 */
import { routeConflict } from './errors.js';
import { METHODS, type Route } from './route.js';
import { RouteTree } from './route-tree.js';

/** All routes of one method and shape. */
class Slot {
  /** Newest first; all with the same parameter names. */
  readonly stack: Route[] = [];
  /** Oldest first. */
  aside: Route[] = [];

  /** @throws TrineError `route_conflict` after the route was put aside */
  add(route: Route): void {
    const top = this.stack[0];
    if (top === undefined || sameNames(top, route)) {
      this.stack.unshift(route);
      return;
    }
    this.aside.push(route);
    throw routeConflict(label(route), label(top));
  }

  /** @returns the routes that came out of their waiting */
  remove(route: Route): readonly Route[] {
    const waiting = this.aside.indexOf(route);
    if (waiting >= 0) this.aside.splice(waiting, 1);
    const at = this.stack.indexOf(route);
    if (at >= 0) this.stack.splice(at, 1);
    const next = this.aside[0];
    if (at < 0 || this.stack.length > 0 || next === undefined) return [];
    const activated = this.aside.filter((other) => sameNames(other, next));
    this.aside = this.aside.filter((other) => !sameNames(other, next));
    for (const other of activated) this.stack.unshift(other);
    return activated;
  }

  get isEmpty(): boolean {
    return this.stack.length === 0 && this.aside.length === 0;
  }
}

/** Everything that is served under one shape of path. */
export class Endpoint {
  readonly #slots = new Map<string, Slot>();
  #allow = '';

  /** The route that serves a method. HEAD is served by the GET route unless it has one of its own. */
  serving(method: string): Route | undefined {
    const route = this.#slots.get(method)?.stack[0];
    return route === undefined && method === 'HEAD' ? this.#slots.get('GET')?.stack[0] : route;
  }

  /** The `allow` header: `GET,HEAD`. */
  get allow(): string {
    return this.#allow;
  }

  add(route: Route): void {
    let slot = this.#slots.get(route.method);
    if (slot === undefined) this.#slots.set(route.method, (slot = new Slot()));
    try {
      slot.add(route);
    } finally {
      this.#recount();
    }
  }

  remove(route: Route): readonly Route[] {
    const slot = this.#slots.get(route.method);
    if (slot === undefined) return [];
    const activated = slot.remove(route);
    if (slot.isEmpty) this.#slots.delete(route.method);
    this.#recount();
    return activated;
  }

  get isEmpty(): boolean {
    return this.#slots.size === 0;
  }

  #recount(): void {
    this.#allow = METHODS.filter((method) => this.serving(method) !== undefined).join(',');
  }
}

interface Entry {
  readonly route: Route;
  readonly endpoint: Endpoint;
}

export interface Found {
  readonly endpoint: Endpoint;
  /** Raw values of the path's parameters, in order. */
  readonly taken: readonly string[];
}

export class Routes {
  readonly #tree = new RouteTree<Endpoint>();
  readonly #entries = new Map<string, Entry>();
  readonly #onActivated: (route: Route) => void;

  /** @param onActivated - told of a route that was aside and is served now */
  constructor(onActivated: (route: Route) => void = () => undefined) {
    this.#onActivated = onActivated;
  }

  /** Triggers known, those aside included. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Adds a route; one with the same trigger id is replaced, without a moment in which neither serves.
   *
   * @throws TrineError `route_conflict`: the route is kept aside until nothing is in its way
   */
  add(route: Route): void {
    const before = this.#entries.get(route.triggerId);
    const endpoint = this.#tree.ensure(route.pattern.segments, () => new Endpoint());
    // The same route again (a worker that reconnects): the new one goes first, so nothing moves up between.
    const same =
      before?.endpoint === endpoint && before.route.method === route.method && sameNames(before.route, route);
    if (before !== undefined && !same) this.#drop(before, endpoint);
    this.#entries.set(route.triggerId, { route, endpoint });
    try {
      endpoint.add(route);
    } finally {
      if (before !== undefined && same) this.#drop(before, endpoint);
    }
  }

  /**
   * Takes a trigger's route away.
   *
   * @param workerId - the trigger's worker; a route that another worker has taken over is left alone
   * @returns the route, or undefined when there is none of that worker
   */
  remove(triggerId: string, workerId: string | undefined): Route | undefined {
    const entry = this.#entries.get(triggerId);
    if (entry === undefined || entry.route.workerId !== workerId) return undefined;
    this.#entries.delete(triggerId);
    this.#drop(entry);
    return entry.route;
  }

  /** Forgets a trigger, whoever has it: what came under its id was refused. */
  forget(triggerId: string): void {
    const entry = this.#entries.get(triggerId);
    if (entry !== undefined) this.remove(triggerId, entry.route.workerId);
  }

  /** @param path - of a request, raw, without its query */
  find(path: string): Found | undefined {
    const match = this.#tree.find(path);
    if (match === undefined || match.value.allow === '') return undefined;
    return { endpoint: match.value, taken: match.taken };
  }

  /** @param keep - an endpoint that is about to get another route */
  #drop({ route, endpoint }: Entry, keep?: Endpoint): void {
    const activated = endpoint.remove(route);
    if (endpoint.isEmpty && endpoint !== keep) this.#tree.remove(route.pattern.segments);
    for (const other of activated) this.#onActivated(other);
  }
}

function sameNames(a: Route, b: Route): boolean {
  const left = a.pattern.names;
  const right = b.pattern.names;
  return left.every((name, index) => name === right[index]);
}

function label(route: Route): string {
  return `${route.method} ${route.path}`;
}
