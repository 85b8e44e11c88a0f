import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import type { Feature } from './feature.js';

const BLOCK_BYTES = 64 * 1024;
const TOTAL_BYTES = 50 * 1024 * 1024;
/** Text messages of nearly 64 KiB: 50 MB in all. */
const TEXTS = { count: 800, filler: 65_500 } as const;
/** For the call that stays open beside the channel, in milliseconds. */
const TRANSFER_TIMEOUT_MS = 80_000;
const NOTHING = createHash('sha256').digest('hex');

/** What the drivers write for so many bytes: blocks that begin with their number. */
export function sha256OfBytes(total: number): string {
  const hash = createHash('sha256');
  const block = Buffer.from(Array.from({ length: BLOCK_BYTES }, (_, at) => at & 0xff));
  for (let sent = 0; sent < total; sent += BLOCK_BYTES) {
    block.writeUInt32BE(sent / BLOCK_BYTES);
    hash.update(block.subarray(0, Math.min(BLOCK_BYTES, total - sent)));
  }
  return hash.digest('hex');
}

const wholeBytes = {
  bytes: TOTAL_BYTES,
  sha256: sha256OfBytes(TOTAL_BYTES),
  texts: 0,
  text_chars: 0,
  text_sha256: NOTHING,
};
const wholeTexts = ((): object => {
  const hash = createHash('sha256');
  let chars = 0;
  for (let n = 0; n < TEXTS.count; n++) {
    const text = `${n} ü ${'x'.repeat(TEXTS.filler)}`;
    hash.update(text);
    chars += text.length;
  }
  return { bytes: 0, sha256: NOTHING, texts: TEXTS.count, text_chars: chars, text_sha256: hash.digest('hex') };
})();

const direction = (id: 'out' | 'in', what: 'bytes' | 'texts'): Feature => ({
  id: `channel-${id}-${what}`,
  title: `channel: 50 MB ${what === 'bytes' ? 'binary' : 'text'} ${id === 'out' ? 'written' : 'read'}`,
  async run({ client, partner }) {
    const words = what === 'bytes' ? { bytes: TOTAL_BYTES } : { texts: TEXTS };
    const read = await client.do(`channel_${id}`, {
      ...words,
      ...(id === 'out' ? { to: partner.id('consume') } : { from: partner.id('produce') }),
      timeout_ms: TRANSFER_TIMEOUT_MS,
    });
    expect(read).toEqual(what === 'bytes' ? wholeBytes : wholeTexts);
  },
});

export const channels: readonly Feature[] = [
  direction('out', 'bytes'),
  direction('in', 'bytes'),
  direction('out', 'texts'),
  direction('in', 'texts'),
];
