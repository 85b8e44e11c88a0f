/** What a worker printed last, cut to the lines that say why it ended. */

/** Begins with the name of an error, as Node and Python print it. */
const ERROR_LINE = /^\s*[\w.]*(?:Error|Exception)\b.*:/;
/** Node prints these below the error, enough of them to push it out of sight. */
const BELOW_ERROR = /^\s+at\s|^Node\.js v\d|^\s*$/;

/**
 * The last error and what follows it, else the last lines.
 *
 * @param tail - the `stderr_tail` of a status
 * @param count - the most lines to return
 */
export function lastWords(tail: unknown, count: number): string[] {
  const telling = texts(tail).filter((line) => !BELOW_ERROR.test(line));
  const error = telling.map((line) => ERROR_LINE.test(line)).lastIndexOf(true);
  const from = error < 0 ? telling.length - count : Math.min(error, telling.length - count);
  return telling.slice(Math.max(0, from)).slice(0, count);
}

/** The last line that names an error, or undefined when there is none. */
export function lastError(tail: unknown): string | undefined {
  return texts(tail)
    .filter((line) => ERROR_LINE.test(line))
    .at(-1);
}

function texts(tail: unknown): string[] {
  return Array.isArray(tail) ? tail.filter((line) => typeof line === 'string') : [];
}
