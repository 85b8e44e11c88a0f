import type { LogRecord } from '../../core/telemetry.js';
import { BoundedRing } from './bounded-ring.js';

/** Log records that are kept unless `logs_max_count` says otherwise. */
export const DEFAULT_LOG_RECORDS = 1_000;
/** Memory for log records, in bytes, as estimated from their texts. */
const MAX_LOG_BYTES = 16 * 1024 * 1024;
/** What a record takes beside its texts, in bytes. */
const RECORD_OVERHEAD_BYTES = 400;

/** The newest log records: those that workers sent, those handed to `engine::log::*` and the engine's own lines. */
export class LogStore {
  readonly #records = new BoundedRing<LogRecord>({ maxCount: DEFAULT_LOG_RECORDS, maxBytes: MAX_LOG_BYTES });

  get size(): number {
    return this.#records.size;
  }

  add(record: LogRecord): void {
    const attributes = JSON.stringify(record.attributes).length;
    this.#records.push(record, RECORD_OVERHEAD_BYTES + record.body.length + attributes);
  }

  resize(maxCount: number): void {
    this.#records.resize(maxCount);
  }

  clear(): void {
    this.#records.clear();
  }

  /** Newest first by their own time; of the same time those that came last. */
  newestFirst(): LogRecord[] {
    return [...this.#records.items()]
      .reverse()
      .sort((a, b) => (a.timeUnixNano === b.timeUnixNano ? 0 : a.timeUnixNano > b.timeUnixNano ? -1 : 1));
  }
}
