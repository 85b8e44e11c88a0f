import { randomBytes, randomUUID } from 'node:crypto';

/** Randomness, passed in so that tests and simulations can seed it. */
export interface Random {
  uuid(): string;
  /** Lower-case hex of `bytes` random bytes. */
  hex(bytes: number): string;
  /** A number in [0, 1). */
  float(): number;
}

export const systemRandom: Random = {
  uuid: () => randomUUID(),
  hex: (bytes) => randomBytes(bytes).toString('hex'),
  // The one place where chance comes from.
  // eslint-disable-next-line no-restricted-properties
  float: () => Math.random(),
};
