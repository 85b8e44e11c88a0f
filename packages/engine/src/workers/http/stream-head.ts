/**
 * Status and headers of a response that a function writes through its channel: control messages, JSON text
 *
 *   {"type":"set_status","status_code":201}
 *   {"type":"set_headers","headers":{"content-type":"text/csv"}}
 *
 * up to the first bytes. Headers add up; of the same name the last counts. What is neither is ignored.
 */
import { headerObject, isRecord, type OnBadHeader } from './response.js';

/** A status below says that the real one is still to come; above there is none. */
const MIN_STATUS = 200;
const MAX_STATUS = 599;

export class StreamHead {
  #status = 200;
  readonly #headers = new Map<string, readonly [name: string, value: string]>();
  #contentLength: number | undefined;

  get status(): number {
    return this.#status;
  }

  /** Names and values in turns. */
  get headers(): string[] {
    return [...this.#headers.values()].flat();
  }

  /** Bytes that the function said it would write. */
  get contentLength(): number | undefined {
    return this.#contentLength;
  }

  /** Server-sent events: the client waits for the head before anything happens. */
  get isEventStream(): boolean {
    return this.#headers.get('content-type')?.[1].toLowerCase().startsWith('text/event-stream') === true;
  }

  /** @returns why the message was ignored, if it was */
  apply(text: string, onBadHeader: OnBadHeader): string | undefined {
    let message: unknown;
    try {
      message = JSON.parse(text);
    } catch {
      return 'it is no JSON';
    }
    if (!isRecord(message)) return 'it is no object';
    switch (message['type']) {
      case 'set_status':
        return this.#setStatus(message['status_code']);
      case 'set_headers':
        return this.#setHeaders(message['headers'], onBadHeader);
      default:
        return 'its type is neither set_status nor set_headers';
    }
  }

  #setStatus(given: unknown): string | undefined {
    if (typeof given !== 'number' || !Number.isInteger(given) || given < MIN_STATUS || given > MAX_STATUS)
      return `status_code is no whole number from ${MIN_STATUS} to ${MAX_STATUS}`;
    this.#status = given;
    return undefined;
  }

  #setHeaders(given: unknown, onBadHeader: OnBadHeader): string | undefined {
    if (!isRecord(given)) return 'headers is no object';
    const headers = headerObject(given, onBadHeader);
    for (let i = 0; i < headers.length; i += 2) {
      const name = headers[i] as string;
      this.#headers.set(name.toLowerCase(), [name, headers[i + 1] as string]);
    }
    for (const name of Object.keys(given)) {
      const value = given[name];
      if (name.toLowerCase() === 'content-length' && typeof value === 'string' && /^\d{1,15}$/.test(value))
        this.#contentLength = Number(value);
    }
    return undefined;
  }
}
