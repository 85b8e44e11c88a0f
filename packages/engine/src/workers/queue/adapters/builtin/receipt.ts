/**
 * A receipt is a UUID (version 4 in form) whose last 48 bits are the job's number, so that a job is
 * found by its receipt without an index over millions of them. The other 74 bits are chance.
 */
const HEAD_LENGTH = 24;
const TAIL = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-([0-9a-f]{12})$/;

export function receiptFor(seq: number, uuid: string): string {
  return uuid.slice(0, HEAD_LENGTH) + seq.toString(16).padStart(12, '0');
}

/** The number that a receipt tells, or -1; whether the job is that one, its stored receipt says. */
export function seqOf(receipt: string): number {
  const tail = TAIL.exec(receipt)?.[1];
  return tail === undefined ? -1 : Number.parseInt(tail, 16);
}
