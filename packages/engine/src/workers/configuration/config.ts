import { z } from 'zod';

const NOT_IN_THIS_VERSION = 'is not in this version';

/** Where the settings of workers that register them are kept. */
export const configurationConfig = z
  .strictObject({
    adapter: z
      .strictObject({
        name: z
          .string()
          .refine((name) => name !== 'bridge', { error: `the bridge adapter ${NOT_IN_THIS_VERSION}: use fs` })
          .refine((name) => name === 'fs' || name === 'bridge', { error: 'must be "fs"' })
          .describe('`fs`: one file `<id>.yaml` per configuration.'),
        config: z
          .strictObject({
            directory: z.string().min(1).default('./config').describe('Folder of the files, relative to config.yaml.'),
          })
          .optional(),
      })
      .optional(),
    directory: z.string().min(1).optional().describe('Short for `adapter.config.directory`.'),
    ttl_seconds: z
      .number()
      .refine((seconds) => seconds === 0, {
        error: `deleting configurations that nobody watches ${NOT_IN_THIS_VERSION}: use 0`,
      })
      .optional()
      .describe('Must be 0: configurations are kept.'),
  })
  .optional();

export const defaultBlock = { adapter: { name: 'fs', config: { directory: './config' } }, ttl_seconds: 0 };
