/** Bounds that every adapter which holds messages and dead letters keeps. */

/** How long a topic without subscriptions holds a message, in milliseconds. */
export const HELD_RETENTION_MS = 24 * 3_600_000;
/** Messages that one topic without subscriptions holds. */
export const MAX_HELD_MESSAGES = 10_000;
/** Payload that one such topic holds, in UTF-16 units. */
export const MAX_HELD_BYTES = 64 * 1024 * 1024;
/** Topics that hold messages. */
export const MAX_HELD_TOPICS = 10_000;
/** Share of a backlog's bound at which the log warns. */
export const BACKLOG_WARNING = 0.8;
/** Share below which it may warn again. */
export const BACKLOG_CALM = 0.4;
/** Dead letters of one queue at which the log warns. */
export const MANY_DEAD_LETTERS = 10_000;
