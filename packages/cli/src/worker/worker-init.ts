/** `iii worker init`: writes a worker that runs as it is. Touches no project and installs nothing. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { basename, isAbsolute, join, relative } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { formatIni, readIni } from '../project/ini.js';
import { openTarget, writeAbsent } from '../project/target-folder.js';
import { TEMPLATES, type Language } from '../templates/worker-files.js';
import { workerNames } from '../templates/worker-names.js';
import { CliError, problem } from '../terminal/errors.js';
import { nearest } from '../terminal/nearest.js';
import { colors, say } from '../terminal/output.js';
import { checkWorkerName } from './worker-name.js';

export interface WorkerInitOptions {
  readonly language?: string;
  readonly directory?: string;
  readonly templateDir?: string;
  readonly allowNonEmpty?: boolean;
  readonly configPath: string;
}

const WORKER_INI = join('.iii', 'worker.ini');

const LANGUAGES: Readonly<Record<string, Language>> = {
  typescript: 'typescript',
  ts: 'typescript',
  javascript: 'javascript',
  js: 'javascript',
  python: 'python',
  py: 'python',
};

export async function workerInit(name: string | undefined, options: WorkerInitOptions): Promise<void> {
  if (options.templateDir !== undefined) throw new CliError('error: `--template-dir` is not in this version');
  const language = options.language === undefined ? await askLanguage() : parseLanguage(options.language);
  const template = TEMPLATES[language];
  // A path given as the name ends in the worker's name, as in `iii worker init workers/link`.
  const directory = options.directory ?? name;
  if (name !== undefined) {
    checkWorkerName(basename(name));
    await checkNotBuiltIn(basename(name));
  }
  const folder = await openTarget({ name, directory, allowNonEmpty: options.allowNonEmpty, marker: WORKER_INI });
  const before = await readIni(join(folder, WORKER_INI));
  const workerName = before?.get('name') ?? (name === undefined ? basename(folder) : basename(name));
  checkWorkerName(workerName);
  const id = before?.get('worker_id') ?? randomUUID();
  const files = template.files(workerNames(workerName));
  files.set(
    WORKER_INI,
    formatIni('worker', { worker_id: id, name: workerName, source: 'init', language: template.short }),
  );
  await writeAbsent(folder, files);
  say();
  say(`  ${colors.green('✓')} iii worker '${workerName}' (${template.short}) scaffolded at ${folder}`);
  say(`  id: ${id}`);
  say('  Next steps:');
  const path = relative('.', folder);
  if (path !== '' && !path.startsWith('..') && !isAbsolute(path) && existsSync(options.configPath)) {
    say(`    edit ./${join(path, template.entry)}    # add your function handlers`);
    say(`    iii worker add ./${path}`);
  } else {
    say(`    cd ${directory ?? folder}`);
    say(`    edit ./${template.entry}    # add your function handlers`);
    say('    iii worker add ./path/to/this-worker    # from a parent iii project');
  }
  say('  Docs: https://iii.dev/docs/quickstart');
}

/** A built-in's entry in config.yaml cannot be a folder's. */
async function checkNotBuiltIn(name: string): Promise<void> {
  const { staticCatalog } = await import('@trine/engine/config');
  if (staticCatalog().find(name) === undefined) return;
  throw problem(
    `'${name}' is the name of a built-in worker`,
    'an entry of that name in config.yaml runs the built-in',
    `choose another name, e.g. my-${name}`,
  );
}

function parseLanguage(text: string): Language {
  const language = Object.hasOwn(LANGUAGES, text.toLowerCase()) ? LANGUAGES[text.toLowerCase()] : undefined;
  if (language !== undefined) return language;
  if (['rust', 'rs'].includes(text.toLowerCase())) {
    throw problem(
      "language 'rust' is not in this version",
      'there is no template for Rust workers yet',
      'pass --language <ts|js|py>',
    );
  }
  const suggestion = nearest(
    text,
    Object.keys(LANGUAGES).filter((name) => name.length > 2),
  );
  const hint = suggestion === undefined ? '' : ` (did you mean '${suggestion}'?)`;
  throw problem(`unknown language '${text}'`, `there is no template of that name${hint}`, 'pass --language <ts|js|py>');
}

async function askLanguage(): Promise<Language> {
  if (!process.stdin.isTTY) {
    throw problem(
      'no language selected',
      'stdin is not a TTY, so the interactive language picker cannot run',
      'pass --language <ts|js|py>',
    );
  }
  const readline = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return parseLanguage((await readline.question('Language (typescript, javascript, python): ')).trim());
  } finally {
    readline.close();
  }
}
