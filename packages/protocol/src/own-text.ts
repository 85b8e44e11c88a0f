/** Length of a message above which a short text that outlives it is copied out of it, in UTF-16 units. */
const LONG_MESSAGE = 4_096;

/**
 * A short text that was cut from a message and outlives it. A slice shares the memory of what it was
 * cut from, so an id of 36 letters would keep megabytes alive; for a short message copying costs more
 * than it keeps.
 *
 * @param text - a slice of a message
 * @param messageLength - length of that message, in UTF-16 units
 */
export function ownText(text: string, messageLength: number): string {
  // A concatenation is laid into memory of its own when it is sliced.
  return messageLength > LONG_MESSAGE ? ` ${text}`.slice(1) : text;
}
