import { isDeepStrictEqual } from 'node:util';
import type { ProjectConfig, WorkerEntry } from './project.js';

export interface ProjectDiff {
  readonly added: WorkerEntry[];
  readonly removed: WorkerEntry[];
  readonly changed: { readonly before: WorkerEntry; readonly after: WorkerEntry }[];
  /** As they are in the later configuration. */
  readonly unchanged: WorkerEntry[];
}

/** What differs between two configurations, by entry id. Comments, order and the source of a block do not count. */
export function diffProjects(before: ProjectConfig, after: ProjectConfig): ProjectDiff {
  const old = new Map(before.entries.map((entry) => [entry.id, entry]));
  const diff: ProjectDiff = { added: [], removed: [], changed: [], unchanged: [] };
  for (const entry of after.entries) {
    const previous = old.get(entry.id);
    old.delete(entry.id);
    if (previous === undefined) diff.added.push(entry);
    else if (sameEntry(previous, entry)) diff.unchanged.push(entry);
    else diff.changed.push({ before: previous, after: entry });
  }
  diff.removed.push(...old.values());
  return diff;
}

/** Compares what was written, expanded: a schema may make things of it that cannot be compared. */
function sameEntry(a: WorkerEntry, b: WorkerEntry): boolean {
  return (
    a.canonical === b.canonical &&
    a.workerPath === b.workerPath &&
    isDeepStrictEqual(a.rawConfig ?? {}, b.rawConfig ?? {})
  );
}
