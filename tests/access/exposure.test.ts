/** What is said of a port that other machines reach depends on what guards it. */
import { describe, expect, it } from 'vitest';
import { accessBed } from './bed.js';

async function said(guarded: object, workers: readonly object[] = []): Promise<string[]> {
  const bed = await accessBed({ ...guarded }, { workers });
  await bed.stop();
  return bed
    .log()
    .split('\n')
    .filter((line) => line.includes('can be reached from other machines'));
}

const HOST = { host: '0.0.0.0' };

describe('the worker port', () => {
  it('is warned of where nothing guards it', async () => {
    expect((await said(HOST)).join()).toContain('has no access rules');
    expect((await said({ ...HOST, middleware_function_id: 'mw' })).join()).toContain('has no access rules');
    expect((await said({ ...HOST, rbac: {} })).join()).toContain('has no auth function');
  });

  it('is not where an auth function does, nor on the loopback', async () => {
    expect(await said({ ...HOST, rbac: { auth_function_id: 'auth' } })).toEqual([]);
    expect(await said({ host: '127.0.0.1' })).toEqual([]);
  });
});

describe('the HTTP port', () => {
  it('is warned of unless a middleware stands before its routes', async () => {
    const http = (config: object): object => ({ name: 'iii-http', config: { port: 0, ...HOST, ...config } });
    expect((await said({}, [http({})])).join()).toContain('no middleware guards it');
    expect(await said({}, [http({ middleware: [{ function_id: 'mw' }] })])).toEqual([]);
  });
});
