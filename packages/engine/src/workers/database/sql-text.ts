/**
 * The little that is read from SQL text: its first word and its placeholders. Strings, quoted names
 * and comments are skipped. Whether a text holds one statement is asked of SQLite, not of this.
 */

const TOKEN =
  /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|'[^']*'?|"[^"]*"?|`[^`]*`?|\[[^\]]*\]?|\?\d*|[:@$][\w$\u0080-\uffff]+|[\w\u0080-\uffff][\w$\u0080-\uffff]*/g;

/** The first word in upper case, after blanks, semicolons and comments; empty when there is none. */
export function firstWord(sql: string): string {
  for (const [token] of sql.matchAll(TOKEN)) {
    if (!isComment(token)) return token.toUpperCase();
  }
  return '';
}

function isComment(token: string): boolean {
  return token.startsWith('--') || token.startsWith('/*');
}

const TRANSACTION_WORDS: ReadonlySet<string> = new Set(['BEGIN', 'COMMIT', 'END', 'ROLLBACK', 'SAVEPOINT', 'RELEASE']);

/** Would this statement begin or end a transaction? */
export function controlsTransaction(sql: string): boolean {
  return TRANSACTION_WORDS.has(firstWord(sql));
}

const CHANGE_WORDS: ReadonlySet<string> = new Set(['INSERT', 'REPLACE', 'UPDATE', 'DELETE', 'WITH']);

/** Is this a statement that can change rows and return them? */
export function changesRows(sql: string): boolean {
  return CHANGE_WORDS.has(firstWord(sql));
}

/** The statement with a RETURNING clause. */
export function withReturning(sql: string, columns: readonly string[]): string {
  const list = columns.map((column) => (column === '*' ? '*' : `"${column.replaceAll('"', '""')}"`)).join(', ');
  const bare = sql.replace(TOKEN, (token) => (isComment(token) ? ' ' : token));
  return `${bare.replace(/[\s;]+$/, '')} RETURNING ${list}`;
}

/**
 * The placeholders of a statement by their index, counted as SQLite counts them: `?` takes the next
 * index, `?3` the index 3, a name the index it got first. An entry is the placeholder's name without
 * its sign, or undefined where it has none.
 *
 * Source: https://sqlite.org/lang_expr.html#varparam
 */
export function placeholders(sql: string): (string | undefined)[] {
  const names: (string | undefined)[] = [];
  const indexes = new Map<string, number>();
  for (const [token] of sql.matchAll(TOKEN)) {
    const sign = token[0] as string;
    if (token === '?') {
      names.push(undefined);
    } else if (sign === '?') {
      const index = Number(token.slice(1)) - 1;
      if (index < 0 || index >= MAX_PLACEHOLDERS) continue; // SQLite refuses the statement
      while (names.length <= index) names.push(undefined);
      names[index] = token.slice(1);
    } else if ((sign === ':' || sign === '@' || sign === '$') && !indexes.has(token)) {
      indexes.set(token, names.length);
      names.push(token.slice(1));
    }
  }
  return names;
}

/** SQLite's own limit (SQLITE_MAX_VARIABLE_NUMBER). */
const MAX_PLACEHOLDERS = 32_766;
