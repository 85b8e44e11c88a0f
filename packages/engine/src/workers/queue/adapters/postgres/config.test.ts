import { describe, expect, it } from 'vitest';
import { queueConfig, validateQueueConfig } from '../../config.js';
import { postgresConfig } from './config.js';
import { explain, isConnectionLoss, isRefusal } from './failures.js';

const URL = 'postgres://app:s3cret@db.example:6432/jobs?sslmode=require';

describe('the configuration of the postgres adapter', () => {
  it('needs an address and has defaults for the rest', () => {
    expect(postgresConfig.parse({ database_url: URL })).toEqual({
      database_url: URL,
      schema: 'trine',
      max_connections: 10,
      lease_ms: 30_000,
    });
    const adapter = { name: 'postgres', config: { database_url: URL } };
    expect(() => validateQueueConfig(queueConfig.parse({ adapter }))).not.toThrow();
    expect(queueConfig.safeParse({ adapter: { name: 'postgres' } }).success).toBe(false);
  });

  it.each([
    { database_url: 'mysql://x' },
    { database_url: URL, schema: 'Robert"; DROP' },
    { database_url: URL, schema: '1st' },
    { database_url: URL, max_connections: 1 },
    { database_url: URL, lease_ms: 10 },
    { database_url: URL, shema: 'x' },
  ])('refuses %o', (config) => {
    expect(postgresConfig.safeParse(config).success).toBe(false);
  });
});

describe('failures of PostgreSQL', () => {
  const config = postgresConfig.parse({ database_url: URL });
  const failure = (code: string, message: string): Error => Object.assign(new Error(message), { code });

  it('are told with the place and the advice, without the password', () => {
    const text = explain(failure('28P01', 'password authentication failed for user "app"'), config);
    expect(text).toBe(
      'PostgreSQL at app@db.example:6432/jobs (schema trine): password authentication failed for user "app"; the password is wrong: correct database_url',
    );
  });

  it('tell a lost connection from a refusal and from a bad row', () => {
    for (const code of ['57P01', '08006', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'])
      expect(isConnectionLoss(failure(code, ''))).toBe(true);
    expect(isConnectionLoss(new Error('Query read timeout'))).toBe(true);
    for (const code of ['25006', '42501', '53100', '53300']) {
      expect(isConnectionLoss(failure(code, ''))).toBe(false);
      expect(isRefusal(failure(code, ''))).toBe(true);
    }
    expect(isConnectionLoss(failure('22021', ''))).toBe(false);
    expect(isRefusal(failure('22021', ''))).toBe(false);
  });
});
