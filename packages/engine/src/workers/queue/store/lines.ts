/** Lines: named queues and subscriptions. */
import type { Database } from '../../../storage/store-module.js';
import { PUT_LINE } from './inserts.js';

export function lineWrites(db: Database) {
  const putLine = db.prepare(PUT_LINE);
  const setPaused = db.prepare('UPDATE queue_lines SET paused = ? WHERE id = ?');
  const setOffline = db.prepare('UPDATE queue_lines SET offline_since = ? WHERE id = ?');
  const setEnded = db.prepare('UPDATE queue_lines SET ended_at = ? WHERE id = ?');
  const deleteLine = db.prepare(
    'DELETE FROM queue_lines WHERE id = @line AND NOT EXISTS (SELECT 1 FROM queue_dead WHERE line = @line)',
  );

  return {
    putLine(
      id: number,
      isTopic: number,
      name: string,
      namespace: string,
      functionId: string,
      settings: string,
      offlineSince: number | null,
    ): void {
      putLine.run(id, isTopic, name, namespace, functionId, settings, offlineSince);
    },

    setPaused(line: number, paused: number): void {
      setPaused.run(paused, line);
    },

    /** @param created - per new queue: id, name */
    createQueues(created: readonly (string | number)[]): void {
      for (let i = 0; i < created.length; i += 2) putLine.run(created[i], 0, created[i + 1], '', '', '{}', null);
    },

    setOffline(line: number, since: number | null): void {
      setOffline.run(since, line);
    },

    endLine(line: number, at: number): void {
      setEnded.run(at, line);
    },

    /** Forgets a line; it stays while it has dead letters. */
    deleteLine(line: number): boolean {
      return deleteLine.run({ line }).changes > 0;
    },
  };
}
