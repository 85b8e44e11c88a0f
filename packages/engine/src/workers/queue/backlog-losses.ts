/**
 * What full backlogs have dropped: written to the log and told as an event. A full backlog drops something with
 * every publish, so after the first time it is told once a second, with what came together since.
 */
import type { Timer } from '../../core/clock.js';
import type { WorkerHost } from '../../core/worker-host.js';
import type { Line } from './adapters/index.js';
import type { JobEvents } from './events.js';

/** Between two times that the same backlog is told of, in milliseconds. */
const TELL_EACH_MS = 1_000;

interface Gathering {
  dropped: number;
  timer: Timer;
}

export class BacklogLosses {
  readonly #host: WorkerHost;
  readonly #events: JobEvents;
  readonly #gathering = new Map<Line, Gathering>();

  constructor(host: WorkerHost, events: JobEvents) {
    this.#host = host;
    this.#events = events;
  }

  /** So many messages are gone. */
  add(line: Line, dropped: number): void {
    const gathering = this.#gathering.get(line);
    if (gathering !== undefined) {
      gathering.dropped += dropped;
      return;
    }
    this.#tell(line, dropped);
    this.#gathering.set(line, { dropped: 0, timer: this.#later(line) });
  }

  stop(): void {
    for (const [line, { dropped, timer }] of this.#gathering) {
      timer.cancel();
      if (dropped > 0) this.#tell(line, dropped);
    }
    this.#gathering.clear();
  }

  #later(line: Line): Timer {
    return this.#host.clock.setTimer(() => {
      const gathering = this.#gathering.get(line);
      if (gathering === undefined || gathering.dropped === 0) {
        this.#gathering.delete(line);
        return;
      }
      this.#tell(line, gathering.dropped);
      gathering.dropped = 0;
      gathering.timer = this.#later(line);
    }, TELL_EACH_MS);
  }

  #tell(line: Line, expired: number): void {
    const { name: topic, functionId } = line;
    this.#host.log.warn('messages of a subscription expired: its backlog is full', {
      topic,
      function: functionId,
      expired,
    });
    this.#events.backlogExpired(line, expired);
  }
}
