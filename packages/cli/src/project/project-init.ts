/** `iii project init`. */
import { randomUUID } from 'node:crypto';
import { basename, join } from 'node:path';
import { CliError, problem } from '../terminal/errors.js';
import { colors, say } from '../terminal/output.js';
import { BARE_CONFIG, PROJECT_GITIGNORE } from '../templates/bare-project.js';
import { formatIni, readIni } from './ini.js';
import { openTarget, writeAbsent } from './target-folder.js';

export interface ProjectInitOptions {
  readonly directory?: string;
  readonly template?: string;
  readonly docker?: boolean;
  readonly templateDir?: string;
  readonly allowNonEmpty?: boolean;
}

const PROJECT_INI = join('.iii', 'project.ini');

export async function projectInit(name: string | undefined, options: ProjectInitOptions): Promise<void> {
  refuseUnbuilt(options);
  const folder = await openTarget({
    name,
    directory: options.directory,
    allowNonEmpty: options.allowNonEmpty,
    marker: PROJECT_INI,
  });
  const before = await readIni(join(folder, PROJECT_INI));
  const projectName = before?.get('project_name') ?? basename(folder);
  const ini = formatIni('project', { project_id: randomUUID(), project_name: projectName, source: 'init' });
  await writeAbsent(
    folder,
    new Map([
      ['config.yaml', BARE_CONFIG],
      ['.gitignore', PROJECT_GITIGNORE],
      [PROJECT_INI, ini],
    ]),
  );
  const given = options.directory ?? name;
  say();
  say(`  ${colors.green('✓')} iii project '${projectName}' initialized at ${folder}`);
  say('  Next steps:');
  if (given !== undefined) say(`    cd ${given}`);
  say('    iii worker add <package>    # add a worker');
  say('    iii   # start the engine');
  say('  Docs: https://iii.dev/docs/quickstart');
}

function refuseUnbuilt(options: ProjectInitOptions): void {
  if (options.docker === true) throw new CliError('error: `--docker` is not in this version');
  if (options.templateDir !== undefined) throw new CliError('error: `--template-dir` is not in this version');
  const { template } = options;
  if (template !== undefined && template !== 'bare') {
    throw problem(
      `could not apply '${template}' template`,
      `Template '${template}' not found. Available templates: bare`,
      'leave --template out, or pass --template bare',
    );
  }
}
