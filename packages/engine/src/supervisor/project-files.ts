/** Where the supervisor keeps what it must remember: `<project>/.iii/`. The `iii` command reads the same paths. */
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export class ProjectFiles {
  readonly #root: string;

  constructor(projectDir: string) {
    this.#root = join(projectDir, '.iii');
  }

  get pidsFolder(): string {
    return join(this.#root, 'pids');
  }

  pidFile(name: string): string {
    return join(this.pidsFolder, `${name}.json`);
  }

  logsFolder(name: string): string {
    return join(this.#root, 'logs', name);
  }

  logFile(name: string, stream: 'stdout' | 'stderr'): string {
    return join(this.logsFolder(name), `${stream}.log`);
  }

  installMarker(name: string): string {
    return join(this.#root, 'installed', `${name}.json`);
  }
}

/** Replaces a small file as a whole, so that nobody ever reads half of it. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(text);
  } finally {
    await file.close();
  }
  await rename(temporary, path).catch(async (error: unknown) => {
    await rm(temporary, { force: true });
    throw error;
  });
}
