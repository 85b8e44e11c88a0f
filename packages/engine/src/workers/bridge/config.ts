import { z } from 'zod';
import { DEFAULT_REMOTE_TIMEOUT_MS, remoteUrl } from '../../remote/index.js';

/** The longest timeout that timers keep, in milliseconds (24.8 days). */
export const MAX_TIMEOUT_MS = 2 ** 31 - 1;

const functionId = z.string().min(1);

const bridgeObject = z.strictObject({
  url: remoteUrl
    .nullish()
    .describe("The other engine's worker port. Default: the environment's `III_URL`, else `ws://127.0.0.1:49134`."),
  expose: z
    .array(
      z.strictObject({
        local_function: functionId.describe('Function of this engine that the other one may call.'),
        remote_function: functionId.nullish().describe('Its id over there. Default: the same.'),
      }),
    )
    .default([])
    .describe('Functions of this engine that the other one gets.'),
  forward: z
    .array(
      z.strictObject({
        local_function: functionId.describe('Id under which this engine offers it.'),
        remote_function: functionId.describe('Function of the other engine.'),
        timeout_ms: z
          .int()
          .min(1)
          .max(MAX_TIMEOUT_MS)
          .default(DEFAULT_REMOTE_TIMEOUT_MS)
          .describe('Milliseconds until the caller gets an error.'),
      }),
    )
    .default([])
    .describe('Functions of the other engine that this one gets.'),
});

/** A bare entry (`- name: iii-bridge`) has no configuration at all. */
export const bridgeConfig = bridgeObject.nullish();

export type BridgeConfig = z.infer<typeof bridgeConfig>;
export type BridgeSettings = Omit<z.infer<typeof bridgeObject>, 'url'> & { readonly url: string };

/** The configuration with everything in it: what is left out takes its default. */
export function bridgeSettings(config: unknown, env: NodeJS.ProcessEnv = process.env): BridgeSettings {
  const settings = bridgeObject.parse(config ?? {});
  return { ...settings, url: settings.url ?? remoteUrl.parse(env['III_URL'] || 'ws://127.0.0.1:49134') };
}

/** @throws Error for one id under two entries of a list */
export function validateBridgeConfig(config: BridgeConfig): void {
  checkUnique('forward', 'local_function', config?.forward.map(({ local_function }) => local_function) ?? []);
  checkUnique(
    'expose',
    'remote_function',
    config?.expose.map(({ local_function, remote_function }) => remote_function ?? local_function) ?? [],
  );
}

function checkUnique(list: string, key: string, ids: readonly string[]): void {
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) throw new Error(`${list}: ${key} '${twice}' is listed twice: keep one`);
}
