import { z } from 'zod';

const securityConfig = z.strictObject({
  url_allowlist: z
    .array(z.string())
    .nullish()
    .describe(
      'Hosts that functions may live on; `*` stands for any text, `?` for one character. Left out or empty = any.',
    ),
  require_https: z.boolean().default(true).describe('Refuse addresses that are not https.'),
  block_private_ips: z
    .boolean()
    .default(true)
    .describe('Refuse loopback, private and all other addresses that are not public, whatever name leads to them.'),
});

const settings = z.strictObject({
  security: securityConfig.nullish().describe('Which addresses may be called.'),
});

export const httpFunctionsConfig = settings.nullish();

export type HttpFunctionsConfig = z.infer<typeof httpFunctionsConfig>;
export type SecuritySettings = z.infer<typeof securityConfig>;

/** The rules with everything in them: what is left out takes its default. */
export function securitySettings(config: unknown): SecuritySettings {
  return securityConfig.parse(settings.parse(config ?? {}).security ?? {});
}

/** What `iii worker add http-functions` writes. */
export const defaultBlock = { security: { require_https: true, block_private_ips: true } } as const;
