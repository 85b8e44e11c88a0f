/**
 * What the operating system knows of a worker's processes. Linux answers from /proc; other systems
 * are asked through `ps`.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Sends a signal to a whole group. @returns false when no process of it is left */
export function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-group, signal);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EPERM') return true;
    return false;
  }
}

/** The group of a process, or undefined when there is no such process. */
export async function groupOf(pid: number): Promise<number | undefined> {
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  if (process.platform === 'linux') return (await readStat(pid))?.group;
  const text = await ps(pid, 'pgid=');
  return text === undefined ? undefined : Number(text);
}

/**
 * A mark that tells two processes with the same pid apart: when it started, and in which boot.
 *
 * @returns undefined when there is no such process
 */
export async function startMark(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') return ps(pid, 'lstart=');
  const stat = await readStat(pid);
  if (stat === undefined) return undefined;
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
  return `${stat.startTicks}@${boot.trim()}`;
}

/**
 * Does the group still hold a process of that run? Its leader may be gone while its children live,
 * so on Linux every member is asked for the run's id in its environment.
 */
export async function groupBelongsTo(group: number, leaderMark: string, runId: string): Promise<boolean> {
  if ((await startMark(group)) === leaderMark) return true;
  if (process.platform !== 'linux') return false;
  const wanted = `III_RUN_ID=${runId}`;
  for (const { pid } of await membersOf(group)) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    if (environment.split('\0').includes(wanted)) return true;
  }
  return false;
}

/** Name of the guard's shell (`launch.ts`), seen in its command line. */
export const GUARD_NAME = 'trine-guard';

/** Does the group hold anything but its guard? Systems without /proc cannot tell: they count the guard. */
export async function groupWorks(group: number): Promise<boolean> {
  if (process.platform !== 'linux') return signalGroup(group, 0);
  const members = await membersOf(group);
  const guards = new Set<number>();
  const ending = new Set<number>();
  for (const { pid } of members) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    // One that is ending has no command line any more, and no program; until it is gone it is still listed.
    if (command === '' && !(await hasProgram(pid))) ending.add(pid);
    else if (command.split('\0').includes(GUARD_NAME)) guards.add(pid);
  }
  return members.some(({ pid, parent }) => !ending.has(pid) && !guards.has(pid) && !guards.has(parent));
}

async function hasProgram(pid: number): Promise<boolean> {
  return readlink(`/proc/${pid}/exe`).then(
    () => true,
    () => false,
  );
}

interface Member extends Stat {
  readonly pid: number;
}

async function membersOf(group: number): Promise<Member[]> {
  const members: Member[] = [];
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const stat = await readStat(pid);
    if (stat?.group === group) members.push({ pid, ...stat });
  }
  return members;
}

interface Stat {
  readonly parent: number;
  readonly group: number;
  readonly startTicks: string;
}

/** Fields 4, 5 and 22 of proc_pid_stat(5), counted after the name, which may hold spaces and brackets itself. */
async function readStat(pid: number): Promise<Stat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, parent, group, startTicks] = [fields[0], fields[1], fields[2], fields[19]];
  if (
    state === undefined ||
    parent === undefined ||
    group === undefined ||
    startTicks === undefined ||
    state === 'Z' ||
    state === 'X'
  )
    return undefined;
  return { parent: Number(parent), group: Number(group), startTicks };
}

async function ps(pid: number, field: string): Promise<string | undefined> {
  const { stdout } = await run('ps', ['-o', field, '-p', String(pid)]).catch(() => ({ stdout: '' }));
  return stdout.trim() === '' ? undefined : stdout.trim();
}
