import { describe, expect, it } from 'vitest';
import { flattenConfig, refusedKeys, workerEnv } from './worker-env.js';

const options = {
  base: {},
  name: 'link',
  url: 'ws://localhost:4000',
  configPath: '/p/config.yaml',
  runId: 'r',
  manifestEnv: {},
  config: undefined,
  venv: undefined,
};

describe("a worker's environment", () => {
  it('tells the engine, the name and the project', () => {
    expect(workerEnv(options)).toMatchObject({
      III_URL: 'ws://localhost:4000',
      III_ENGINE_URL: 'ws://localhost:4000',
      III_WORKER_NAME: 'link',
      SERVICE_INSTANCE_ID: 'link',
      III_ENGINE_PID: String(process.pid),
      III_CONFIG_PATH: '/p/config.yaml',
    });
  });

  it('lets the manifest win over the engine, the configuration over both, and nobody over the supervisor', () => {
    const env = workerEnv({
      ...options,
      base: { A: 'engine', B: 'engine', C: 'engine', III_URL: 'x' },
      manifestEnv: { B: 'manifest', C: 'manifest', III_URL: 'y' },
      config: { c: 'config', iii_url: 'z' },
    });
    expect(env).toMatchObject({ A: 'engine', B: 'manifest', C: 'config', III_URL: 'ws://localhost:4000' });
  });

  it('flattens the configuration', () => {
    expect(
      Object.fromEntries(flattenConfig({ smtp: { host: 'x', 'tls-port': 25 }, tags: ['a', 1], on: true, none: null })),
    ).toEqual({
      SMTP_HOST: 'x',
      SMTP_TLS_PORT: '25',
      TAGS: '["a",1]',
      ON: 'true',
    });
    expect(flattenConfig('text').size).toBe(0);
  });

  it('keeps PATH and the like out of reach of the configuration, and names such keys', () => {
    expect(workerEnv({ ...options, base: { PATH: '/bin' }, config: { path: '/evil' } })['PATH']).toBe('/bin');
    expect(refusedKeys({ path: 'secret', a: 1 })).toEqual({ keys: ['PATH'] });
  });

  it('puts a virtual environment first on PATH', () => {
    const env = workerEnv({ ...options, base: { PATH: '/bin', PYTHONHOME: '/x' }, venv: '/w/.venv' });
    expect(env).toMatchObject({ PATH: '/w/.venv/bin:/bin', VIRTUAL_ENV: '/w/.venv' });
    expect(env).not.toHaveProperty('PYTHONHOME');
  });

  it('drops what the package manager that runs the engine left', () => {
    const env = workerEnv({
      ...options,
      base: {
        npm_lifecycle_event: 'dev',
        npm_config_verify_deps_before_run: 'install',
        npm_config_registry: 'http://r',
      },
    });
    expect(env).toMatchObject({ npm_config_registry: 'http://r' });
    expect(Object.keys(env).filter((key) => key.startsWith('npm_'))).toEqual(['npm_config_registry']);
  });
});
