/**
 * Where log lines are written: one stream for the engine's own lines and for those of its workers.
 * An entry is one write, so lines of different sources never mix inside a line.
 */
import { pino } from 'pino';
import { formatEntry, type EntryLevel, type LogEntry } from './log-format.js';
import type { Log, LogFields } from './log.js';
import { cleanFields, cleanLine, cleanText } from './log-text.js';

/** Entries below the level are not written; `silent` writes none. */
export type LogLevel = EntryLevel | 'silent';
/** `default`: for people. `json`: one object per line. */
export type LogFormat = 'default' | 'json';

export interface LogStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export interface LogOptions {
  /** Default `info`. */
  readonly level?: LogLevel;
  /** Default `default`. */
  readonly format?: LogFormat;
  /** Default: standard output. Colours are written to terminals only, and not where NO_COLOR is set. */
  readonly stream?: LogStream;
}

/** An entry of someone else's: a worker's log record, a line of a process. */
export interface ForeignEntry {
  /** Milliseconds since the epoch; default now. */
  readonly timeMs?: number;
  readonly level: EntryLevel;
  /** The worker's name. */
  readonly target: string;
  readonly message: string;
  readonly fields?: LogFields;
}

export interface LogOutput extends Log {
  readonly level: LogLevel;
  readonly format: LogFormat;
  setLevel(level: LogLevel): void;
  setFormat(format: LogFormat): void;
  /** Writes an entry of a worker among the engine's own. */
  record(entry: ForeignEntry): void;
}

/** The target of entries that name none. */
const ROOT_TARGET = 'iii';
/** Longest target that is written, in characters. */
const MAX_TARGET_CHARS = 128;
/** The last instant that a Date can hold, in milliseconds since the epoch. */
const MAX_DATE_MS = 8.64e15;

/**
 * Opens the log of one engine.
 *
 * @example
 * const log = createLog({ level: 'debug' });
 * log.for('iii::function').info('[REGISTERED] Function link::create');
 * // [11:54:47.609 AM] [INFO] iii::function [REGISTERED] Function link::create
 */
export function createLog(options: LogOptions = {}): LogOutput {
  const stream = options.stream ?? process.stdout;
  const colours = stream.isTTY === true && (process.env['NO_COLOR'] ?? '') === '';
  let format: LogFormat = options.format ?? 'default';
  const json = pino(
    {
      level: options.level ?? 'info',
      base: null,
      timestamp: false,
      formatters: { level: (label) => ({ level: label.toUpperCase() }) },
    },
    { write: (line: string) => void stream.write(line) },
  );

  function write(
    level: EntryLevel,
    target: string,
    message: string,
    fields: LogFields | undefined,
    timeMs = Date.now(),
  ): void {
    if (!json.isLevelEnabled(level)) return;
    const entry: LogEntry = {
      timeMs: timeMs >= 0 && timeMs <= MAX_DATE_MS ? timeMs : Date.now(),
      level,
      target: cleanLine(target, MAX_TARGET_CHARS),
      message: cleanText(message),
      fields: fields === undefined ? {} : cleanFields(fields),
    };
    if (format === 'json') json[level](jsonEntry(entry));
    else stream.write(formatEntry(entry, colours));
  }

  const target = (name: string): Log => ({
    trace: (message, fields) => write('trace', name, message, fields),
    debug: (message, fields) => write('debug', name, message, fields),
    info: (message, fields) => write('info', name, message, fields),
    warn: (message, fields) => write('warn', name, message, fields),
    error: (message, fields) => write('error', name, message, fields),
    for: target,
  });

  return {
    ...target(ROOT_TARGET),
    get level() {
      return json.level as LogLevel;
    },
    get format() {
      return format;
    },
    setLevel: (level) => void (json.level = level),
    setFormat: (next) => void (format = next),
    record: (entry) => write(entry.level, entry.target, entry.message, entry.fields, entry.timeMs),
  };
}

/** The members of a JSON line after `level`: the shape that readers of the reference's lines know. */
function jsonEntry(entry: LogEntry): object {
  return {
    timestamp: new Date(entry.timeMs).toISOString(),
    target: entry.target,
    fields: Object.assign({ message: '' }, entry.fields, { message: entry.message }),
  };
}
