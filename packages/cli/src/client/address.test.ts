import { expect, test } from 'vitest';
import { CliError } from '../terminal/errors.js';
import { engineUrl, hostUrl, parsePort } from './address.js';

test.each([
  [{}, {}, 'ws://localhost:49134'],
  [{}, { III_URL: 'ws://engine:1234/' }, 'ws://engine:1234'],
  [{}, { III_URL: '' }, 'ws://localhost:49134'],
  [{ port: '5000' }, { III_URL: 'ws://engine:1234' }, 'ws://localhost:5000'],
  [{ address: '10.0.0.1' }, { III_URL: 'ws://engine:1234' }, 'ws://10.0.0.1:49134'],
  [{ address: '::1', port: '1' }, {}, 'ws://[::1]:1'],
])('%j with %j connects to %s', (options, env, expected) => {
  expect(engineUrl(options, env)).toBe(expected);
});

test('the port of the project is the last resort', () => {
  expect(engineUrl({}, {}, 5001)).toBe('ws://localhost:5001');
  expect(engineUrl({}, {}, 5001, 'fd00::7')).toBe('ws://[fd00::7]:5001');
});

test.each(['http://engine:1', 'engine', '::'])('III_URL %s is refused by name', (url) => {
  expect(() => engineUrl({}, { III_URL: url })).toThrow(`III_URL is \`${url}\``);
});

test.each([
  ['engine', 'ws://engine:49134'],
  ['engine:80', 'ws://engine:80'],
  ['[::1]:80', 'ws://[::1]:80'],
  ['wss://engine', 'wss://engine'],
])('--host %s is %s', (host, expected) => {
  expect(hostUrl(host)).toBe(expected);
});

test.each(['0', '65536', 'x', '1.5', ''])('port %j is a usage error', (port) => {
  expect(() => parsePort(port)).toThrow(CliError);
  expect(() => hostUrl(`engine:${port || 'y'}`)).toThrow(CliError);
});
