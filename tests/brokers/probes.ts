import { waitFor } from '@trine/testing';
import { expect } from 'vitest';
import type { BrokerBed } from './broker-bed.js';

/** An enqueue is answered with an error that contains these words. */
export async function refuses(bed: BrokerBed, data: unknown, words: string): Promise<void> {
  await expect(bed.enqueue(data)).rejects.toMatchObject({
    code: 'enqueue_error',
    message: expect.stringContaining(words) as string,
  });
}

/** Nothing waits or runs any more. */
export async function waitUntilWorkedOff(bed: BrokerBed): Promise<void> {
  await waitFor(async () => {
    const { depth, running } = await bed.stats();
    return depth === 0 && running === 0;
  });
}

/** What a handler waits for until the test opens it. */
export function gate(): { readonly promise: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const promise = new Promise<void>((go) => (open = go));
  return { promise, open };
}
