/**
 * The runnable examples of the documentation: a TypeScript block that stands behind a line with the comment
 * `<!-- example: NAME -->`, and the `text` block behind it, which is what the example prints.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface DocExample {
  /** The page, relative to the root. */
  readonly page: string;
  readonly name: string;
  readonly code: string;
  readonly output: string;
}

/** README.md, CONTRIBUTING.md and everything in docs/, relative to the root. */
export function docPages(): string[] {
  const inDocs = readdirSync(join(ROOT, 'docs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.md'))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
  return ['README.md', 'CONTRIBUTING.md', ...inDocs.sort()];
}

export function readPage(page: string): string {
  return readFileSync(join(ROOT, page), 'utf8');
}

const EXAMPLE = /^<!-- example: (\S+) -->\n+```ts\n(.*?)```.*?```text\n(.*?)```/gms;

/** @throws Error for a marker without its two blocks: such an example would go untested */
export function docExamples(): DocExample[] {
  return docPages().flatMap((page) => {
    const text = readPage(page);
    const found = [...text.matchAll(EXAMPLE)].map(([, name = '', code = '', output = '']) => ({
      page,
      name,
      code,
      output,
    }));
    if (found.length !== (text.match(/^<!-- example: /gm) ?? []).length) {
      throw new Error(`${page}: an example lacks its ts block or the text block with what it prints`);
    }
    return found;
  });
}
