import { spawn } from 'node:child_process';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLog, type Log } from '../core/log.js';
import { tempFolder, waitFor } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recordPid, reapLeftovers, type PidRecord } from './leftovers.js';
import { groupWorks, signalGroup, startMark } from './process-group.js';
import { ProjectFiles } from './project-files.js';

let folder: Awaited<ReturnType<typeof tempFolder>>;
let files: ProjectFiles;
const groups: number[] = [];
beforeEach(async () => {
  folder = await tempFolder();
  files = new ProjectFiles(folder.path);
});
afterEach(async () => {
  for (const group of groups.splice(0)) signalGroup(group, 'SIGKILL');
  await folder.remove();
});

/** A process group without a guard, as a killed engine and a killed guard would leave it. */
function orphan(script: string, runId: string): number {
  const child = spawn('/bin/sh', ['-c', script], {
    detached: true,
    stdio: 'ignore',
    env: { ...process.env, III_RUN_ID: runId },
  });
  const pid = child.pid ?? 0;
  groups.push(pid);
  return pid;
}

async function record(pid: number, runId: string, change: Partial<PidRecord> = {}): Promise<void> {
  await recordPid(files, { name: 'link', pid, runId, now: 0 });
  const path = files.pidFile('link');
  const written = JSON.parse(await readFile(path, 'utf8')) as PidRecord;
  await writeFile(path, JSON.stringify({ ...written, ...change }));
}

const ENGINE_GONE = { engine_mark: 'another process had this pid' };
const recorded = (): Promise<boolean> =>
  access(files.pidFile('link')).then(
    () => true,
    () => false,
  );

describe('workers that a killed engine left behind', () => {
  it('are ended, and their record with them', async () => {
    const pid = orphan('sleep 60', 'run-1');
    await record(pid, 'run-1', ENGINE_GONE);
    const warnings: string[] = [];
    const log: Log = { ...silentLog, warn: (message) => void warnings.push(message) };
    await reapLeftovers(files, log);
    expect(await groupWorks(pid)).toBe(false);
    expect(await recorded()).toBe(false);
    expect(warnings).toEqual(['ending a worker that an earlier engine left behind']);
  });

  it('are ended although the leader of their group is gone', async () => {
    const pid = orphan('sleep 60 & exit 0', 'run-2');
    const mark = await startMark(pid);
    await waitFor(async () => (await startMark(pid)) === undefined);
    expect(await groupWorks(pid)).toBe(true);
    await record(pid, 'run-2', { ...ENGINE_GONE, mark: mark ?? '' });
    await reapLeftovers(files, silentLog);
    expect(await groupWorks(pid)).toBe(false);
  });

  it('are not another process that has their pid now', async () => {
    const pid = orphan('sleep 60', 'of someone else');
    await record(pid, 'run-3', { ...ENGINE_GONE, mark: '1@earlier boot' });
    await reapLeftovers(files, silentLog);
    expect(await groupWorks(pid)).toBe(true);
    expect(await recorded()).toBe(false);
  });

  it('are left alone while the engine that started them lives', async () => {
    const pid = orphan('sleep 60', 'run-4');
    await record(pid, 'run-4');
    await reapLeftovers(files, silentLog);
    expect(await groupWorks(pid)).toBe(true);
    expect(await recorded()).toBe(true);
  });

  it('a record that cannot be read ends nothing', async () => {
    await mkdir(files.pidsFolder, { recursive: true });
    await writeFile(join(files.pidsFolder, 'link.json'), '{"pid": 1');
    await reapLeftovers(files, silentLog);
    expect(await recorded()).toBe(false);
  });
});
