"""Much data through channels, made and checked so that both ends can tell it without sharing it."""

import hashlib

BLOCK_BYTES = 64 * 1024
ALL_BYTES = bytes(range(256)) * (BLOCK_BYTES // 256)


def block(index, size):
    """The block of this number: its number, then all bytes in turn."""
    return (index.to_bytes(4, "big") + ALL_BYTES[4:])[:size]


async def write_bytes(writer, total):
    for sent in range(0, total, BLOCK_BYTES):
        await writer.write(block(sent // BLOCK_BYTES, min(BLOCK_BYTES, total - sent)))
    await writer.close_async()


async def write_texts(writer, count, filler):
    """`count` messages of which no two are the same."""
    for n in range(count):
        await writer.send_message_async(f"{n} ü {'x' * filler}")
    await writer.close_async()


async def read_everything(reader):
    seen = {"texts": 0, "text_chars": 0}
    text_hash = hashlib.sha256()

    def on_text(text):
        seen["texts"] += 1
        seen["text_chars"] += len(text)
        text_hash.update(text.encode())

    reader.on_message(on_text)
    return {**await read_bytes(reader), **seen, "text_sha256": text_hash.hexdigest()}


async def read_bytes(reader):
    read = 0
    digest = hashlib.sha256()
    async for chunk in reader.stream:
        read += len(chunk)
        digest.update(chunk)
    return {"bytes": read, "sha256": digest.hexdigest()}
