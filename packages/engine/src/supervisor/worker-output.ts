/**
 * The lines that a worker prints: into `.iii/logs/<name>/`, kept for the reader, and into the
 * engine's log between those of the others.
 */
import { open } from 'node:fs/promises';
import { stripVTControlCharacters } from 'node:util';
import type { Log } from '../core/log.js';
import type { Stream } from './launch.js';
import type { ProjectFiles } from './project-files.js';
import { RotatingFile } from './rotating-file.js';

/** The end of a log file that is read for its last lines, in bytes. */
const TAIL_BYTES = 256 * 1024;

export class WorkerOutput {
  readonly #files: { readonly [stream in Stream]: RotatingFile };
  readonly #log: Log;
  #toldFailure = false;

  /** @param log - the engine's log under the worker's name */
  constructor(files: ProjectFiles, name: string, log: Log) {
    this.#log = log;
    this.#files = {
      stdout: new RotatingFile(files.logFile(name, 'stdout')),
      stderr: new RotatingFile(files.logFile(name, 'stderr')),
    };
  }

  /** Says in both files where a run begins or ends. */
  separate(text: string): void {
    for (const file of [this.#files.stdout, this.#files.stderr]) file.line(`--- ${text} ---`);
  }

  line(stream: Stream, text: string): void {
    const file = this.#files[stream];
    file.line(text);
    if (file.failure !== undefined && !this.#toldFailure) {
      this.#toldFailure = true;
      const reason = file.failure instanceof Error ? file.failure.message : 'unknown';
      this.#log.warn('the lines of this worker cannot be kept; they are shown here only', { file: file.path, reason });
    }
    const plain = readable(text);
    if (plain.trim() !== '') this.#log.info(plain);
  }

  flush(): Promise<unknown> {
    return Promise.all([this.#files.stdout.flush(), this.#files.stderr.flush()]);
  }
}

/** Is it a line of `separate`? */
export function isSeparator(line: string): boolean {
  return line.startsWith('--- ') && line.endsWith(' ---');
}

/** A line without colours, cursor moves and other control characters: it must not redraw the engine's log. */
export function readable(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/\x1b./g, '')
    .replace(/[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]/g, '');
}

/** The last lines of a log, oldest first; continues in the file before a rotation. */
export async function tailLines(path: string, count: number): Promise<string[]> {
  let lines = await lastLines(path);
  if (lines.length < count) lines = [...(await lastLines(`${path}.1`)), ...lines];
  return count <= 0 ? [] : lines.slice(-count);
}

async function lastLines(path: string): Promise<string[]> {
  const file = await open(path, 'r').catch(() => undefined);
  if (file === undefined) return [];
  try {
    const { size } = await file.stat();
    const start = Math.max(0, size - TAIL_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
    const lines = buffer.toString('utf8', 0, bytesRead).split('\n');
    if (start > 0) lines.shift();
    if (lines.at(-1) === '') lines.pop();
    return lines;
  } finally {
    await file.close();
  }
}
