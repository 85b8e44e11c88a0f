/**
 * Records of running workers, and the end of those that a killed engine left behind. The guard of
 * `launch.ts` ends them already; this is for what the guard could not see to (it was killed too, or
 * its grace is still running).
 */
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Log } from '../core/log.js';
import { STOP_GRACE_MS } from './launch.js';
import { groupBelongsTo, groupWorks, signalGroup, startMark } from './process-group.js';
import { writeWhole, type ProjectFiles } from './project-files.js';

const pidRecord = z.object({
  name: z.string(),
  pid: z.number().int().positive(),
  /** Tells the recorded process from a later one with the same pid. */
  mark: z.string(),
  run_id: z.string(),
  engine_pid: z.number().int().positive(),
  engine_mark: z.string(),
  started_at: z.string(),
});

export type PidRecord = z.infer<typeof pidRecord>;

/** How often a group that was told to end is looked at, in milliseconds. */
const POLL_MS = 20;

/** Records a group that was just started. */
export async function recordPid(
  files: ProjectFiles,
  options: { readonly name: string; readonly pid: number; readonly runId: string; readonly now: number },
): Promise<void> {
  const record: PidRecord = {
    name: options.name,
    pid: options.pid,
    mark: (await startMark(options.pid)) ?? '',
    run_id: options.runId,
    engine_pid: process.pid,
    engine_mark: (await startMark(process.pid)) ?? '',
    started_at: new Date(options.now).toISOString(),
  };
  await writeWhole(files.pidFile(options.name), `${JSON.stringify(record, undefined, 2)}\n`);
}

export async function forgetPid(files: ProjectFiles, name: string): Promise<void> {
  await rm(files.pidFile(name), { force: true });
}

/**
 * Ends the groups that are recorded, still run, and whose engine does not. Resolves when they are gone.
 */
export async function reapLeftovers(files: ProjectFiles, log: Log): Promise<void> {
  const names = await readdir(files.pidsFolder).catch(() => []);
  await Promise.all(
    names.filter((name) => name.endsWith('.json')).map((name) => reap(join(files.pidsFolder, name), log)),
  );
}

async function reap(path: string, log: Log): Promise<void> {
  const record = await readRecord(path);
  if (record !== undefined) {
    // Its engine lives: it is not left over (two engines in one folder, with data folders of their own).
    if ((await startMark(record.engine_pid)) === record.engine_mark) return;
    if (await groupBelongsTo(record.pid, record.mark, record.run_id)) {
      log.warn('ending a worker that an earlier engine left behind', { worker: record.name, pid: record.pid });
      await endGroup(record.pid);
    }
  }
  await rm(path, { force: true });
}

async function endGroup(group: number): Promise<void> {
  signalGroup(group, 'SIGTERM');
  if (!(await ended(group))) signalGroup(group, 'SIGKILL');
  await ended(group);
  signalGroup(group, 'SIGKILL');
}

/** Waits for the group's end, at most the grace. */
async function ended(group: number): Promise<boolean> {
  for (const until = performance.now() + STOP_GRACE_MS; performance.now() < until; await sleep(POLL_MS)) {
    if (!(await groupWorks(group))) return true;
  }
  return false;
}

async function readRecord(path: string): Promise<PidRecord | undefined> {
  try {
    return pidRecord.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    // Half-written or of another version: nothing can be said of any process.
    return undefined;
  }
}
