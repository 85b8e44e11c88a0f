import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TriggerBinding } from '../../core/worker-host.js';
import { readRoute, type Route } from './route.js';
import { Routes } from './routes.js';

let made = 0;

function route(path: unknown, method: unknown = 'GET', over: Partial<TriggerBinding> = {}): Route {
  const id = `t${made++}`;
  const config = { api_path: path, http_method: method };
  return readRoute({
    id,
    type: 'http',
    functionId: id,
    namespace: 'default',
    config,
    metadata: undefined,
    workerId: 'w1',
    workerName: undefined,
    ...over,
  });
}

function tableOf(...routes: Route[]): Routes {
  const table = new Routes();
  for (const one of routes) table.add(one);
  return table;
}

function serving(table: Routes, path: string, method = 'GET'): string | undefined {
  return table.find(path)?.endpoint.serving(method)?.path;
}

describe('finding a route', () => {
  it('prefers a literal over a parameter over a catch-all, whatever came first', () => {
    const table = tableOf(route('/a/*rest'), route('/a/:x'), route('/a/b'));
    expect(serving(table, '/a/b')).toBe('/a/b');
    expect(serving(table, '/a/c')).toBe('/a/:x');
    expect(serving(table, '/a/c/d')).toBe('/a/*rest');
  });

  it('goes back to a parameter when the literal leads nowhere', () => {
    const table = tableOf(route('/a/b/c'), route('/a/:x/d'), route('/*all'));
    expect(table.find('/a/b/d')?.taken).toEqual(['b']);
    expect(table.find('/a/b/e')?.taken).toEqual(['a/b/e']);
  });

  it('takes values as they were sent', () => {
    const table = tableOf(route('/items/:id'));
    const long = 'x'.repeat(500);
    for (const value of ['a%2Fb', '%zz', '%', 'hello%20world', long])
      expect(table.find(`/items/${value}`)?.taken).toEqual([value]);
  });

  it('keeps paths with and without a last slash apart and wants a character for a last parameter', () => {
    const table = tableOf(route('/a'), route('/users/:id'), route('/files/*rest'));
    expect(serving(table, '/a/')).toBeUndefined();
    expect(serving(table, '/users/')).toBeUndefined();
    expect(serving(table, '/files/')).toBeUndefined();
    expect(serving(table, '//a')).toBeUndefined();
    expect(serving(table, '/A')).toBeUndefined();
  });

  it('serves HEAD from the GET route unless it has its own', () => {
    const table = tableOf(route('/a'));
    expect(serving(table, '/a', 'HEAD')).toBe('/a');
    expect(table.find('/a')?.endpoint.allow).toBe('GET,HEAD');
    table.add(route('a', 'HEAD'));
    expect(serving(table, '/a', 'HEAD')).toBe('a');
  });

  it('agrees with a plain matcher on any table', () => {
    const segment = fc.constantFrom('a', 'b', '', ':x', 'c');
    const pattern = fc
      .tuple(fc.array(segment, { minLength: 1, maxLength: 4 }), fc.constantFrom('', '/*x'))
      .map(([segments, rest]) => `/${segments.join('/')}${rest}`.replace(/^\/+/, '/'));
    const path = fc
      .array(fc.constantFrom('a', 'b', 'c', '', 'd'), { minLength: 1, maxLength: 5 })
      .map((parts) => `/${parts.join('/')}`);
    fc.assert(
      fc.property(
        fc.uniqueArray(pattern, { maxLength: 12 }),
        fc.array(path, { maxLength: 12 }),
        fc.nat(11),
        (patterns, paths, gone) => {
          const table = new Routes();
          const routes = patterns.map((one) => route(one));
          for (const one of routes) table.add(one);
          const removed = routes[gone];
          if (removed !== undefined) table.remove(removed.triggerId, 'w1');
          const left = patterns.filter((_, index) => routes[index] !== removed);
          for (const one of paths) expect(serving(table, one)).toBe(naive(left, one));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('finds among 10,000 routes about as fast as among one', () => {
    const one = tableOf(route('/r5000/:id'));
    const many = new Routes();
    const started = performance.now();
    for (let i = 0; i < 10_000; i++) many.add(route(`/r${i}/:id`));
    expect(performance.now() - started).toBeLessThan(2_000);
    for (const table of [one, many]) timeOf(table, 20_000);
    const ratios = Array.from({ length: 7 }, () => timeOf(many, 20_000) / timeOf(one, 20_000)).sort((a, b) => a - b);
    // Cache misses of a large map may show here, against a request that takes a hundred times as long; a
    // table that scans would be thousands of times slower.
    expect(ratios[3]).toBeLessThan(10);
  });
});

function timeOf(table: Routes, times: number): number {
  const started = performance.now();
  for (let i = 0; i < times; i++) table.find('/r5000/x');
  return performance.now() - started;
}

/** All patterns that match, the best of them by the first segment in which they differ. */
function naive(patterns: readonly string[], path: string): string | undefined {
  const parts = path.slice(1).split('/');
  const rank = (text: string): number => (text.startsWith(':') ? 1 : text.startsWith('*') ? 2 : 0);
  const matching = patterns.filter((pattern) => {
    const texts = pattern.slice(1).split('/');
    return (
      texts.every((text, i) => {
        if (text.startsWith('*')) return parts.length > i && parts.slice(i).join('/') !== '';
        if (text.startsWith(':')) return i < parts.length && (parts[i] !== '' || i < parts.length - 1);
        return parts[i] === text;
      }) &&
      (texts.length === parts.length || texts[texts.length - 1]?.startsWith('*') === true)
    );
  });
  return matching.sort((a, b) => {
    const left = a.slice(1).split('/').map(rank);
    const right = b.slice(1).split('/').map(rank);
    const at = left.findIndex((value, i) => value !== right[i]);
    return at < 0 ? 0 : (left[at] as number) - (right[at] ?? 0);
  })[0];
}

describe('owners of a route', () => {
  it('lets the newest serve and the one before again when it leaves', () => {
    const [first, second, third] = [route('/a'), route('a'), route('///a')];
    const table = tableOf(first, second, third);
    expect(serving(table, '/a')).toBe('///a');
    table.remove(second.triggerId, 'w1');
    expect(serving(table, '/a')).toBe('///a');
    table.remove(third.triggerId, 'w1');
    expect(serving(table, '/a')).toBe('/a');
    table.remove(first.triggerId, 'w1');
    expect(table.find('/a')).toBeUndefined();
  });

  it('moves a trigger that is registered again under another path', () => {
    const table = tableOf(route('/old', 'GET', { id: 'same' }));
    table.add(route('/new', 'GET', { id: 'same' }));
    expect(serving(table, '/old')).toBeUndefined();
    expect(serving(table, '/new')).toBe('/new');
    expect(table.size).toBe(1);
  });

  it('does not let an old worker take away what a new one registered under the same id', () => {
    const table = tableOf(route('/a', 'GET', { id: 'same', workerId: 'old' }));
    table.add(route('/a', 'GET', { id: 'same', workerId: 'new' }));
    expect(table.remove('same', 'old')).toBeUndefined();
    expect(serving(table, '/a')).toBe('/a');
    expect(table.remove('same', 'new')?.path).toBe('/a');
    expect(table.find('/a')).toBeUndefined();
  });
});

describe('routes in conflict', () => {
  it('refuses other parameter names under the same method and shape, naming both', () => {
    const table = tableOf(route('/x/:a/:b', 'POST'));
    expect(() => table.add(route('x/{b}/:a', 'POST'))).toThrow(
      "Route 'POST x/{b}/:a' conflicts with already-registered route 'POST /x/:a/:b': " +
        'routes with identical structure but different path-parameter names are not supported',
    );
    expect(serving(table, '/x/1/2', 'POST')).toBe('/x/:a/:b');
  });

  it('allows them under another method', () => {
    const table = tableOf(route('/u/:id'), route('/u/:uid', 'POST'));
    expect(serving(table, '/u/1')).toBe('/u/:id');
    expect(serving(table, '/u/1', 'POST')).toBe('/u/:uid');
  });

  it('activates the oldest that waits, and its likes, when the way is free', () => {
    const activated: string[] = [];
    const table = new Routes(({ path }) => activated.push(path));
    const first = route('/u/:id');
    table.add(first);
    for (const path of ['/u/:a', '/u/:b', '/u/{a}']) expect(() => table.add(route(path))).toThrow('conflicts');
    table.remove(first.triggerId, 'w1');
    expect(activated).toEqual(['/u/:a', '/u/{a}']);
    expect(serving(table, '/u/1')).toBe('/u/{a}');
  });

  it('keeps a route that its worker registers again from giving way', () => {
    const table = tableOf(route('/u/:id', 'GET', { id: 'same', workerId: 'old' }));
    expect(() => table.add(route('/u/:a'))).toThrow('conflicts');
    table.add(route('/u/:id', 'GET', { id: 'same', workerId: 'new' }));
    expect(serving(table, '/u/1')).toBe('/u/:id');
  });
});

it('holds through any order of adding and removing', () => {
  const paths = ['/', '/a', '/:x', '/:y', '/*', '/*z', '/a/:x', '/a/{y}', '/:x/b', '/a/', '/:', '/{', '/a/*/b'];
  const step = fc.record({
    id: fc.nat(6),
    path: fc.constantFrom(...paths),
    method: fc.constantFrom('GET', 'POST', 'TRACE'),
    add: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const table = new Routes();
      for (const { id, path, method, add } of steps) {
        if (!add) table.forget(`s${id}`);
        else {
          try {
            table.add(route(path, method, { id: `s${id}` }));
          } catch {
            // refused: another path, method or shape is in its way
          }
        }
        for (const probe of ['/', '/a', '/q', '/a/', '/a/1', '/1/b']) table.find(probe);
      }
      for (let id = 0; id <= 6; id++) table.forget(`s${id}`);
      expect(table.size).toBe(0);
      for (const probe of ['/', '/a', '/q', '/a/1', '/1/b']) expect(table.find(probe)).toBeUndefined();
    }),
    { numRuns: 300 },
  );
});

describe('reading a trigger', () => {
  it('wants a path', () => {
    for (const path of [undefined, 3, null])
      expect(() => route(path)).toThrow('api_path is required for http triggers');
  });

  it('reads GET where there is no method, and knows methods in any case', () => {
    expect(route('/a', undefined).method).toBe('GET');
    expect(route('/a', 7).method).toBe('GET');
    expect(route('/a', 'patch').method).toBe('PATCH');
    expect(() => route('/a', 'ANY')).toThrow('Unsupported HTTP method: ANY');
  });
});
