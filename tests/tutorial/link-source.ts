/** src/index.ts of the link worker as it grows in the tutorial's fourth chapter: apps/link is its end. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const APPS = join(import.meta.dirname, '..', '..', 'apps');

const END = readFileSync(join(APPS, 'link', 'src', 'index.ts'), 'utf8');

/** What an edit adds to the file, and what stood there before it. */
interface Edit {
  readonly added: string;
  readonly before: string;
}

/** The chapter's edits, in its order. */
const EDITS = {
  'import TriggerAction': [
    { added: 'import { registerWorker, Logger, TriggerAction }', before: 'import { registerWorker, Logger }' },
  ],
  'enqueue the click': [{ added: '    action: TriggerAction.Enqueue({ queue: "clicks" }),\n', before: '' }],
  'publish link.created': [
    {
      added:
        '  await worker.trigger({\n    function_id: "publish",\n' +
        '    payload: { topic: "link.created", data: { code, url } },\n  });\n',
      before: '',
    },
  ],
  'update links': [
    { added: between('worker.registerFunction("link::update"', 'worker.registerFunction("link::on_'), before: '' },
    { added: between('worker.registerFunction("http::update"', 'logger.info("link worker ready"'), before: '' },
  ],
  'refresh the cache': [
    {
      added: between('worker.registerFunction("link::on_link_updated"', 'worker.registerFunction("http::create"'),
      before: '',
    },
  ],
} satisfies Record<string, Edit[]>;

export type EditName = keyof typeof EDITS;

/** The file with these edits made. Without any it is what the chapter before has left. */
export function linkSource(...made: EditName[]): string {
  let text = END;
  for (const [name, edits] of Object.entries(EDITS)) {
    if (made.includes(name as EditName)) continue;
    for (const { added, before } of edits) {
      if (text.split(added).length !== 2) throw new Error(`apps/link has not exactly one place for "${name}"`);
      text = text.replace(added, before);
    }
  }
  return text;
}

function between(start: string, end: string): string {
  const from = END.indexOf(start);
  const to = END.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`apps/link has no ${from < 0 ? start : end}`);
  return END.slice(from, to);
}
