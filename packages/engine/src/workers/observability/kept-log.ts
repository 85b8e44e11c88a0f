/**
 * The engine's log with a memory: its own lines of level info and above, as far as its level lets them be
 * written, are handed on to be kept as records. What others say (`record`, `for(name, 'foreign')`) is not:
 * workers send records of their own.
 */
import type { EntryLevel } from '../../core/log-format.js';
import type { Log, LogFields } from '../../core/log.js';
import type { LogOutput } from '../../core/log-writer.js';

export interface OwnLine {
  readonly level: KeptLevel;
  readonly target: string;
  readonly message: string;
  readonly fields: LogFields | undefined;
}

type KeptLevel = Extract<EntryLevel, 'info' | 'warn' | 'error'>;

/** Written levels, by the lowest one that is written. */
const WRITTEN: Readonly<Record<LogOutput['level'], readonly KeptLevel[]>> = {
  trace: ['info', 'warn', 'error'],
  debug: ['info', 'warn', 'error'],
  info: ['info', 'warn', 'error'],
  warn: ['warn', 'error'],
  error: ['error'],
  silent: [],
};

/** The target of lines that name none. */
const ROOT_TARGET = 'iii';

/** @param keep - told of each line after it is written; its texts are as they came */
export function keptLog(output: LogOutput, keep: (line: OwnLine) => void): LogOutput {
  const own = (log: Log, target: string): Log => {
    const say =
      (level: KeptLevel) =>
      (message: string, fields?: LogFields): void => {
        log[level](message, fields);
        if (WRITTEN[output.level].includes(level)) keep({ level, target, message, fields });
      };
    return {
      trace: (message, fields) => log.trace(message, fields),
      debug: (message, fields) => log.debug(message, fields),
      info: say('info'),
      warn: say('warn'),
      error: say('error'),
      for: (name, whose) => (whose === 'foreign' ? log.for(name, whose) : own(log.for(name), name)),
    };
  };
  return {
    ...own(output, ROOT_TARGET),
    get level() {
      return output.level;
    },
    get format() {
      return output.format;
    },
    setLevel: (level) => output.setLevel(level),
    setFormat: (format) => output.setFormat(format),
    record: (entry) => output.record(entry),
  };
}
