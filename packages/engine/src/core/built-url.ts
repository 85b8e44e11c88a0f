/**
 * The address of a module that a thread loads. Threads run plain Node, so from a source file (tests
 * that run TypeScript directly) the built file beside it is meant: build before testing.
 *
 * @param from - `import.meta.url` of the caller
 * @param path - relative path of the built module, e.g. `./store.js`
 */
export function builtUrl(from: string, path: string): URL {
  const base = from.endsWith('.ts') ? from.replace(/\/src\/(?!.*\/src\/)/, '/dist/') : from;
  return new URL(path, base);
}
