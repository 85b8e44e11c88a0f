import { DEFAULT_PORT, engineUrl } from '../client/address.js';

/** The name under which the command shows up among the engine's workers. */
export const CLIENT_NAME = 'iii-cli:trigger';

export interface TriggerOptions {
  readonly json?: string | undefined;
  /** Spelling of clients up to 0.11: the function and its payload as options. */
  readonly functionId?: string | undefined;
  readonly payload?: string | undefined;
  readonly address?: string | undefined;
  readonly port?: string | undefined;
  readonly timeoutMs?: string | undefined;
  readonly namespace?: string | undefined;
  readonly printNull?: boolean | undefined;
  readonly help?: boolean | undefined;
  /** The project's config.yaml; it need not be there. */
  readonly configPath: string;
}

/** Where to call: what was typed, else `III_URL`, else where the project's config.yaml puts the worker port. */
export async function triggerUrl(options: TriggerOptions): Promise<string> {
  const isNamed = options.address !== undefined || options.port !== undefined || Boolean(process.env['III_URL']);
  if (isNamed) return engineUrl(options, process.env);
  const { readLocalProject } = await import('../worker/local-project.js');
  // Port 0 is a free one, which no file tells.
  const { port, host } = await readLocalProject(options.configPath);
  return engineUrl(options, process.env, port === 0 ? DEFAULT_PORT : port, host);
}
