/** What both ways of adding a worker share: what was asked for, and the words of the answer. */
import { CliError } from '../terminal/errors.js';
import { colors, say } from '../terminal/output.js';

export interface WorkerAddOptions {
  readonly force?: boolean;
  readonly resetConfig?: boolean;
  readonly wait: boolean;
  readonly host?: string;
}

/** What to add: a folder, or a worker that is built in. */
export type LocalSource = { readonly kind: 'local'; readonly path: string; readonly typed: string };
export type Source = LocalSource | { readonly kind: 'registry'; readonly name: string };

/** Said on success of a built-in, by both ways of adding. */
export function sayAdded(name: string): void {
  say();
  say(`  ${colors.green('✓')} Worker ${name} added to config.yaml`);
}

export function sayAlreadyThere(name: string, listedAs: string = name): void {
  say();
  say(`  ${colors.green('✓')} Worker ${name} is in config.yaml already${listedAs === name ? '' : ` (as ${listedAs})`}`);
}

/** Said of a name that is no built-in's. */
export function pathHint(name: string): string {
  return `  For a folder of your own write its path: iii worker add ./${name}`;
}

/** The words for a local worker that config.yaml lists already. */
export function alreadyAdded(name: string, typed: string): CliError {
  return new CliError([
    `error: Worker '${name}' is already in config.yaml.`,
    'Fix options:',
    `  - see how it is:            iii worker status ${name}`,
    `  - add it anew:              iii worker add ${typed} --force`,
    `  - and drop its config too:  iii worker add ${typed} --force --reset-config`,
  ]);
}
