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
}
