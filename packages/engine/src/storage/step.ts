import { OPERATION_WIDTH } from './messages.js';

/** One operation inside a storage thread. */
export interface Step {
  readonly id: number;
  readonly store: number;
  readonly kind: number;
  readonly name: string;
  readonly args: readonly unknown[];
}

/** Reads the flat form of a message. */
export function appendSteps(operations: readonly unknown[], into: Step[]): void {
  for (let i = 0; i < operations.length; i += OPERATION_WIDTH) {
    into.push({
      id: operations[i] as number,
      store: operations[i + 1] as number,
      kind: operations[i + 2] as number,
      name: operations[i + 3] as string,
      args: operations[i + 4] as readonly unknown[],
    });
  }
}
