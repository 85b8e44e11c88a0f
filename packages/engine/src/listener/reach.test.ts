import { describe, expect, it } from 'vitest';
import { reachableAt } from './reach.js';

describe('the address that a client on this machine connects to', () => {
  it.each([
    [undefined, 'localhost:49134'],
    ['localhost', 'localhost:49134'],
    ['LOCALHOST', 'localhost:49134'],
    ['127.0.0.1', 'localhost:49134'],
    ['0.0.0.0', 'localhost:49134'],
    ['::', 'localhost:49134'],
    ['0:0:0:0:0:0:0:0', 'localhost:49134'],
    ['::1', '[::1]:49134'],
    ['127.0.0.2', '127.0.0.2:49134'],
    ['192.168.7.1', '192.168.7.1:49134'],
    ['fd00::7', '[fd00::7]:49134'],
    ['fe80::7%eth0', '[fe80::7%eth0]:49134'],
    ['engine.internal', 'engine.internal:49134'],
  ])('of one that listens on %s is %s', (host, expected) => {
    expect(reachableAt(host, 49_134, 'localhost')).toBe(expected);
  });

  it('calls loopback by number where that is asked for', () => {
    expect(reachableAt(undefined, 1, '127.0.0.1')).toBe('127.0.0.1:1');
  });
});
