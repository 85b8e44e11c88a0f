/** Faults put into the store or the broker on purpose: a simulation that does not find them is worth nothing. */
import type { Store } from '../../../core/store.js';
import { Delays } from '../adapters/builtin/delays.js';
import { Gate } from '../adapters/builtin/gate.js';
import { Lane } from '../adapters/builtin/lane.js';
import type { Chance } from './chance.js';
import type { Sabotage } from './scenario.js';

export interface PlantedBug {
  readonly what: string;
  /** What the ledger says when it finds it. */
  readonly found: RegExp;
  readonly sabotage?: Sabotage;
  /** Changes the broker; answers how to undo it. */
  readonly plant?: () => () => void;
}

const SHARE = 0.3;

type Write = (...args: Parameters<Store['write']>) => Promise<unknown>;

function writes(change: (write: Write, chance: Chance, name: string, args: Parameters<Write>) => unknown): Sabotage {
  return {
    store: (store, chance) => {
      const write: Write = (...args) => store.write(...args);
      return { ...store, write: <T>(...args: Parameters<Write>) => change(write, chance, args[0], args) as Promise<T> };
    },
  };
}

function replaceGetter(target: object, name: string, get: (this: never) => unknown): () => void {
  const before = Object.getOwnPropertyDescriptor(target, name) as PropertyDescriptor;
  Object.defineProperty(target, name, { configurable: true, get });
  return () => Object.defineProperty(target, name, before);
}

function replaceMethod<T extends object>(
  target: T,
  name: keyof T & string,
  method: (this: never) => unknown,
): () => void {
  const before = Object.getOwnPropertyDescriptor(target, name) as PropertyDescriptor;
  Object.defineProperty(target, name, { ...before, value: method });
  return () => Object.defineProperty(target, name, before);
}

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    what: 'a store that answers an enqueue before its commit',
    found: /^I1/,
    sabotage: writes((write, _chance, name, args) => {
      const stored = write(...args);
      if (name !== 'accept') return stored;
      stored.catch(() => undefined);
      return Promise.resolve();
    }),
  },
  {
    what: 'a store that forgets the end of a job',
    found: /^I2/,
    sabotage: writes((write, chance, name, args) =>
      name === 'end' && chance.is(SHARE) ? write('end', -1) : write(...args),
    ),
  },
  {
    what: 'a store that forgets a cancellation',
    found: /^I[12]/,
    sabotage: writes((write, _chance, name, args) =>
      name === 'endMany' ? write('endMany', []).then(() => args[1]) : write(...args),
    ),
  },
  {
    what: 'a store that keeps one attempt too many',
    found: /^I4/,
    sabotage: writes((write, _chance, name, args) =>
      name === 'postpone'
        ? write(...(args.map((arg, i) => (i === 4 ? Number(arg) + 1 : arg)) as typeof args))
        : write(...args),
    ),
  },
  {
    what: 'a store that loses dead letters on their way back',
    found: /^I1/,
    sabotage: writes((write, _chance, name, args) => {
      if (name !== 'redrive') return write(...args);
      const [dead, seq] = args[1] as readonly number[];
      return write('discard', dead).then(() => [seq]);
    }),
  },
  {
    what: 'a store that takes a batch in pieces',
    found: /in part|^I1/,
    sabotage: writes((write, _chance, name, args) => {
      if (name !== 'acceptMany') return write(...args);
      return Promise.all((args[1] as readonly never[]).map((job) => write('acceptWithOptions', job, args[2])));
    }),
  },
  {
    what: 'a store whose pages begin anew',
    found: /^I[23]/,
    sabotage: {
      store: (store) => ({
        ...store,
        read: (name: string, ...args: never[]) =>
          store.read(name, ...(name === 'page' ? args.map((arg, i) => (i === 1 ? -1 : arg)) : args)),
      }),
    },
  },
  {
    what: 'a broker that goes on in a group before the job in front has ended',
    found: /^I5/,
    plant: () =>
      replaceGetter(Lane.prototype, 'mayRun', function (this: Lane) {
        return this.front.length > 0 || this.windowSize > 0 || this.hasMoreStored;
      }),
  },
  {
    what: 'a broker that does not wait before a retry',
    found: /before its retry was due/,
    plant: () => {
      const before = Object.getOwnPropertyDescriptor(Delays.prototype, 'postpone') as PropertyDescriptor;
      Delays.prototype.postpone = function (this: Delays, lane, job) {
        (before.value as Delays['postpone']).call(this, lane, job, 0, false);
      };
      return () => Object.defineProperty(Delays.prototype, 'postpone', before);
    },
  },
  {
    what: 'a broker that loses count of what is delayed',
    found: /^I1|negative|is missing/,
    plant: () => {
      const before = Object.getOwnPropertyDescriptor(Delays.prototype, 'remove') as PropertyDescriptor;
      Delays.prototype.remove = function (this: Delays, seq) {
        return this.laneOf(seq) !== undefined;
      };
      return () => Object.defineProperty(Delays.prototype, 'remove', before);
    },
  },
  {
    what: 'a broker that does not look what the disk kept when its file is open again',
    found: /^I2|dead letters became/,
    plant: () => {
      const before = Object.getOwnPropertyDescriptor(Gate.prototype, 'reopened') as PropertyDescriptor;
      return replaceMethod(Gate.prototype, 'reopened', function (this: Gate) {
        return (before.value as Gate['reopened']).call(this, () => Promise.resolve());
      });
    },
  },
  {
    what: 'a broker that forgets what runs when its file is open again',
    found: /^I[235]/,
    plant: () => replaceMethod(Lane.prototype, 'know', () => undefined),
  },
];
