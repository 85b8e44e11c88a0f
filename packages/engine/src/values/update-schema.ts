import { z } from 'zod';

const keyPath = z.string().describe('One literal first-level key; empty = the root.');
const anyPath = z
  .union([z.string(), z.array(z.string())])
  .nullish()
  .describe('One literal key, or literal nested segments.');

/** One update operation, for introspection; `readUpdateOps` is what reads them. */
export const updateOpSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('set'), path: keyPath, value: z.unknown() }),
  z.object({ type: z.literal('merge'), path: anyPath, value: z.unknown() }),
  z.object({ type: z.literal('increment'), path: keyPath, by: z.number().int() }),
  z.object({ type: z.literal('decrement'), path: keyPath, by: z.number().int() }),
  z.object({ type: z.literal('append'), path: anyPath, value: z.unknown() }),
  z.object({ type: z.literal('remove'), path: keyPath }),
]);

/** `errors` in the answer of an update. */
export const updateErrorsSchema = z
  .array(z.object({ op_index: z.number().int(), code: z.string(), message: z.string(), doc_url: z.string() }))
  .optional()
  .describe('Operations that were skipped. Left out when there are none.');
