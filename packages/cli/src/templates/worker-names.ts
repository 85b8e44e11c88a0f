/** The spellings of a worker's name in files of other tools. */
export interface WorkerNames {
  /** As given: the entry's name in config.yaml. */
  readonly worker: string;
  /** For function ids in TypeScript and JavaScript: `clickStreamer`. */
  readonly camel: string;
  /** For function ids in Python: `click_streamer`. */
  readonly snake: string;
}

export function workerNames(worker: string): WorkerNames {
  const words = worker.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  const camel = words
    .map((word, i) => (i === 0 ? word.charAt(0).toLowerCase() : word.charAt(0).toUpperCase()) + word.slice(1))
    .join('');
  const snake = words.join('_').toLowerCase();
  return { worker, camel: camel || 'worker', snake: snake || 'worker' };
}

/** Packages that the templates depend on: a worker of the same name would depend on itself. */
const TAKEN = ['iii-sdk', 'tsx', 'typescript', 'watchfiles'];

/** A name that npm takes: lower case, not beginning with a dot, dash or underscore. */
export function npmName(worker: string): string {
  return untaken(worker.toLowerCase().replace(/^[^a-z0-9]+/, '') || 'worker');
}

/** A name that pip takes: letters and digits at both ends. */
export function pythonName(worker: string): string {
  return untaken(worker.replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '') || 'worker');
}

function untaken(name: string): string {
  return TAKEN.includes(name.toLowerCase().replace(/[._]+/g, '-')) ? `${name}-worker` : name;
}
