/** Much data through channels, made and checked so that both ends can tell it without sharing it. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { finished } from 'node:stream/promises';

const BLOCK_BYTES = 64 * 1024;

const ALL_BYTES = Buffer.from(Array.from({ length: BLOCK_BYTES }, (_, at) => at & 0xff));

/** The block of this number: its number, then all bytes in turn. */
function block(index, size) {
  const bytes = Buffer.from(ALL_BYTES);
  bytes.writeUInt32BE(index);
  return bytes.subarray(0, size);
}

/** @param response - anything with a `stream` to write to */
export async function writeBytes(response, total) {
  for (let sent = 0; sent < total; sent += BLOCK_BYTES) {
    const bytes = block(sent / BLOCK_BYTES, Math.min(BLOCK_BYTES, total - sent));
    if (!response.stream.write(bytes)) await once(response.stream, 'drain');
  }
  response.stream.end();
  await finished(response.stream);
}

/** `count` messages of which no two are the same. */
export function writeTexts(writer, { count, filler }) {
  for (let n = 0; n < count; n++) writer.sendMessage(`${n} ü ${'x'.repeat(filler)}`);
  writer.close();
}

export async function readEverything(reader) {
  const texts = { count: 0, chars: 0, hash: createHash('sha256') };
  reader.onMessage((text) => {
    texts.count++;
    texts.chars += text.length;
    texts.hash.update(text);
  });
  const bytes = await readBytes(reader);
  return { ...bytes, texts: texts.count, text_chars: texts.chars, text_sha256: texts.hash.digest('hex') };
}

export async function readBytes(reader) {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of reader.stream) {
    bytes += chunk.length;
    hash.update(chunk);
  }
  return { bytes, sha256: hash.digest('hex') };
}
