/**
 * A log entry as people read it:
 *
 *     [11:54:47.597 AM] [INFO] iii::worker_connections Worker registered
 *         ├ worker_id: "adf46954-461e-450c-961f-ed6fe0cc1e31"
 *         └ ip_address: "127.0.0.1"
 */
import type { CleanFields, CleanValue } from './log-text.js';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;
export type EntryLevel = (typeof LOG_LEVELS)[number];

/** One entry, ready to be written. */
export interface LogEntry {
  /** Milliseconds since the epoch. */
  readonly timeMs: number;
  readonly level: EntryLevel;
  /** Who speaks: a part of the engine, or a worker. */
  readonly target: string;
  readonly message: string;
  readonly fields: CleanFields;
}

const INDENT = '    ';
/** Further lines of a message, indented so that none can be taken for an entry of its own. */
const CONTINUATION = `\n${INDENT}  `;

const RESET = '\u001b[0m';
const DIM = '\u001b[2m';
const TARGET = '\u001b[1;36m';
const LEVEL_COLOURS: Readonly<Record<EntryLevel, string>> = {
  trace: '\u001b[35m',
  debug: '\u001b[32m',
  info: '\u001b[34m',
  warn: '\u001b[33m',
  error: '\u001b[31m',
};

/** The whole entry, its last newline included. */
export function formatEntry(entry: LogEntry, colours: boolean): string {
  const paint = (colour: string, text: string): string => (colours ? `${colour}${text}${RESET}` : text);
  const time = paint(DIM, `[${clockTime(entry.timeMs)}]`);
  const level = paint(LEVEL_COLOURS[entry.level], `[${entry.level.toUpperCase()}]`);
  const message = entry.message.trimEnd().replaceAll('\n', CONTINUATION);
  const lines = [`${time} ${level} ${paint(TARGET, entry.target)} ${message}`];
  addFields(lines, Object.entries(entry.fields), INDENT, (text) => paint(DIM, text));
  return `${lines.join('\n')}\n`;
}

function addFields(
  lines: string[],
  fields: readonly (readonly [string, CleanValue])[],
  indent: string,
  dim: (text: string) => string,
): void {
  fields.forEach(([name, value], index) => {
    const branch = `${indent}${dim(index === fields.length - 1 ? '└' : '├')} `;
    const inner = nested(value);
    lines.push(`${branch}${name}:${inner === undefined ? ` ${JSON.stringify(value)}` : ''}`);
    if (inner !== undefined) addFields(lines, inner, indent + INDENT, dim);
  });
}

/** The members of an object or array that has any; undefined for what fits on its own line. */
function nested(value: CleanValue): readonly (readonly [string, CleanValue])[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const entries = Array.isArray(value)
    ? value.map((item: CleanValue, index) => [String(index), item] as const)
    : Object.entries(value as CleanFields);
  return entries.length === 0 ? undefined : entries;
}

/** Local time on a 12-hour clock: `11:54:47.597 AM`. */
function clockTime(timeMs: number): string {
  const date = new Date(timeMs);
  const hours = date.getHours();
  const pad = (value: number, width: number): string => String(value).padStart(width, '0');
  const clock = `${pad(hours % 12 === 0 ? 12 : hours % 12, 2)}:${pad(date.getMinutes(), 2)}:${pad(date.getSeconds(), 2)}`;
  return `${clock}.${pad(date.getMilliseconds(), 3)} ${hours < 12 ? 'AM' : 'PM'}`;
}
