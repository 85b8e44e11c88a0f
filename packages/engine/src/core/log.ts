export type LogFields = Readonly<Record<string, unknown>>;

/**
 * A log for one part of the engine. Messages are constant text; what varies goes into fields.
 * Fields whose names say that they are secret are redacted by the writer.
 */
export interface Log {
  trace(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /**
   * The same log under another target, the name shown before each message.
   *
   * @param whose - `foreign`: the lines are someone else's, e.g. the output of a process. Default `own`
   */
  for(target: string, whose?: 'own' | 'foreign'): Log;
}

/** A log that writes nothing. */
export const silentLog: Log = {
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  for: () => silentLog,
};
