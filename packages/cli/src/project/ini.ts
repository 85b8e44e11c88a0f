/** The small `.iii/*.ini` files: one section of `key=value` lines. */
import { readFile } from 'node:fs/promises';

export function formatIni(section: string, values: Readonly<Record<string, string>>): string {
  const lines = Object.entries(values).map(([key, value]) => `${key}=${value.replace(/[\r\n]+/g, ' ')}`);
  return [`[${section}]`, ...lines, ''].join('\n');
}

/** The values of a file, or undefined when there is none. Sections and comments are skipped. */
export async function readIni(path: string): Promise<ReadonlyMap<string, string> | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const at = line.indexOf('=');
    if (at > 0 && !/^\s*[;#[]/.test(line)) values.set(line.slice(0, at).trim(), line.slice(at + 1).trim());
  }
  return values;
}
