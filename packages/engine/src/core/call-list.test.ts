import { expect, it } from 'vitest';
import { CallLink, CallList } from './call-list.js';
import type { PendingCall } from './pending-call.js';

function call(): PendingCall {
  return { executingLink: new CallLink(), waitingLink: new CallLink() } as PendingCall;
}

it('keeps the order, and lets go of the first, the last and one between', () => {
  const list = new CallList('executing');
  const [a, b, c, d] = [call(), call(), call(), call()];
  for (const each of [a, b, c, d, b]) list.add(each);
  expect([...list]).toEqual([a, b, c, d]);
  list.delete(b);
  list.delete(b);
  expect([[...list], list.size]).toEqual([[a, c, d], 3]);
  list.delete(d);
  list.delete(a);
  expect([...list]).toEqual([c]);
  list.delete(c);
  expect([[...list], list.size]).toEqual([[], 0]);
  list.add(a);
  expect([...list]).toEqual([a]);
});

it('moves a call from one session to another, and knows the two roles apart', () => {
  const [from, to, waiting] = [new CallList('executing'), new CallList('executing'), new CallList('waiting')];
  const a = call();
  from.add(a);
  waiting.add(a);
  for (const each of from) {
    from.delete(each);
    to.add(each);
  }
  from.delete(a);
  expect([from.size, to.size, waiting.size]).toEqual([0, 1, 1]);
});
