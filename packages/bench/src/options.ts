import { parseArgs } from 'node:util';
import { SIDES, type Side } from './measure.js';

export interface Options {
  /** Names of rows; empty = all. */
  readonly rows: readonly string[];
  readonly seconds: number;
  readonly rounds: number;
  readonly seed: number;
  readonly only: Side | undefined;
  readonly cpuProfileDir: string | undefined;
  readonly json: string | undefined;
  readonly writeDocs: boolean;
  readonly help: boolean;
}

export const USAGE = `Usage: pnpm bench [options]

  --row NAME        only this row (may be given several times); also
                    'start' (to listening), 'idle' (workers), 'job-start', 'million' (waiting jobs)
                    and 'rivals' (other queues, on servers that are installed)
  --seconds N       length of a measured window (default 3)
  --rounds N        windows per side, in turn (default 5)
  --seed N          seed of the payloads (default 1)
  --only SIDE       'plain' or 'corked' (floors), or 'engine': measure one side, e.g. to profile it
  --cpu-prof DIR    write a CPU profile of the engine process into DIR
  --json FILE       write the results as JSON into FILE (they are always printed last)
  --write-docs      replace the table in docs/performance.md
`;

/** @throws Error that says which option is wrong */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    // pnpm hands the separator on: `pnpm bench -- --row routed`.
    args: args.filter((arg) => arg !== '--'),
    options: {
      row: { type: 'string', multiple: true, default: [] },
      seconds: { type: 'string', default: '3' },
      rounds: { type: 'string', default: '5' },
      seed: { type: 'string', default: '1' },
      only: { type: 'string' },
      'cpu-prof': { type: 'string' },
      json: { type: 'string' },
      'write-docs': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  return {
    rows: values.row,
    seconds: positive('--seconds', values.seconds),
    rounds: Math.ceil(positive('--rounds', values.rounds)),
    seed: positive('--seed', values.seed),
    only: side(values.only),
    cpuProfileDir: values['cpu-prof'],
    json: values.json,
    writeDocs: values['write-docs'],
    help: values.help,
  };
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`${option} must be a number above 0, not "${text}"`);
  return value;
}

function side(text: string | undefined): Side | undefined {
  if (text === undefined) return undefined;
  const known = SIDES.find((name) => name === text);
  if (known === undefined) throw new Error(`--only must be one of ${SIDES.join(', ')}, not "${text}"`);
  return known;
}
