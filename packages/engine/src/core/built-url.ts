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

/**
 * Node's own arguments for a thread: those of the process, but for what is true of its program's text only. A thread
 * of a program given with `node --input-type=module -e` would not start with it.
 */
export function threadArgv(): string[] {
  return process.execArgv.filter((word) => !word.startsWith('--input-type'));
}
