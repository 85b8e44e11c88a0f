import { createLog, type LogOutput } from '../../../../core/log-writer.js';

/** What the brokers of one test say. */
export interface SuiteLog {
  readonly log: LogOutput;
  /** How many lines contain this text. */
  readonly said: (text: string) => number;
}

export function suiteLog(): SuiteLog {
  const lines: string[] = [];
  return {
    log: createLog({ level: 'warn', format: 'json', stream: { write: (line) => lines.push(line) } }),
    said: (text) => lines.filter((line) => line.includes(text)).length,
  };
}
