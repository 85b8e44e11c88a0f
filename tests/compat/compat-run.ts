/**
 * One engine, all clients at once in a process each: every client goes through the features one after the
 * other, with its neighbour as its partner; then the engine restarts under all of them.
 */
import { absence } from './absences.js';
import { ClientProcess } from './client-process.js';
import type { Client } from './clients.js';
import { CompatEngine } from './compat-engine.js';
import { TOKEN } from './features/access.js';
import { STANDARD_FUNCTIONS, type Feature, type Scene } from './features/index.js';

/** A feature that takes longer has hung, in milliseconds. */
const FEATURE_TIMEOUT_MS = 100_000;
/** What is told of the output of a client or of the engine in a failure. */
const TOLD_CHARS = 3_000;

/** `absent`: not in this client, for a reason that is known before. */
export type Cell =
  | { readonly state: 'passed'; readonly ms: number }
  | { readonly state: 'absent'; readonly reason: string }
  | { readonly state: 'failed'; readonly error: Error };

/** Cells by client and feature. */
export type Cells = ReadonlyMap<string, ReadonlyMap<string, Cell>>;

export async function runCompat(clients: readonly Client[], features: readonly Feature[]): Promise<Cells> {
  // One compiler at a time; virtual environments are made side by side where the clients start.
  for (const client of clients) await client.prepare?.();
  const engine = await CompatEngine.start(clients);
  const processes: ClientProcess[] = [];
  const cells = new Map(clients.map(({ name }) => [name, new Map<string, Cell>()]));
  const phase = async (name: 'running' | 'restarted'): Promise<void> => {
    const inPhase = features.filter((feature) => (feature.phase ?? 'running') === name);
    await Promise.all(
      processes.map(async (client, at) => {
        const others = [...processes.slice(at + 1), ...processes.slice(0, at)];
        const partner = others[0] as ClientProcess;
        const binder = others.find((other) => absence(other.client, 'trigger-types') === undefined) as ClientProcess;
        let hung: string | undefined;
        for (const feature of inPhase) {
          const made = await cell(feature, { engine, client, partner, binder }, hung);
          cells.get(client.name)?.set(feature.id, made);
          if (made.state === 'failed' && made.error instanceof Hung) hung ??= feature.id;
        }
      }),
    );
  };
  try {
    // The newest clients leave files in the home folder when they are killed.
    const env = { III_TOKEN: TOKEN, III_URL: engine.url, HOME: engine.folder };
    const starts = await Promise.allSettled(clients.map((client) => ClientProcess.start(client, engine.url, env)));
    for (const start of starts) if (start.status === 'fulfilled') processes.push(start.value);
    for (const start of starts) if (start.status === 'rejected') throw start.reason;
    await Promise.all(processes.map((client) => introduce(engine, client)));
    await phase('running');
    if (features.some((feature) => feature.phase === 'restarted')) {
      await engine.restart();
      await phase('restarted');
    }
    return cells;
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${outputs(engine, processes)}`, { cause: error });
  } finally {
    await Promise.all(processes.map((each) => each.kill()));
    await engine.stop();
  }
}

/** What every client serves and has bound from its start, beside what features add. */
async function introduce(engine: CompatEngine, client: ClientProcess): Promise<void> {
  for (const name of STANDARD_FUNCTIONS) {
    const behaviour = name === 'news' ? 'note' : name;
    await client.do('serve', { function_id: client.id(name), behaviour });
  }
  await client.do('bind', {
    type: 'subscribe',
    function_id: client.id('news'),
    config: { topic: 'news' },
    handle: 'news',
  });
  await engine.served(...STANDARD_FUNCTIONS.map((name) => client.id(name)));
  await client.result('state::set', { scope: 'restart', key: client.name, value: { kept: true } });
}

/** A feature has hung: what comes after it is not tried, or the whole run would end without a word. */
class Hung extends Error {}

async function cell(feature: Feature, scene: Scene, hung: string | undefined): Promise<Cell> {
  const reason = absence(scene.client.client, feature.id);
  if (reason !== undefined) return { state: 'absent', reason };
  if (hung !== undefined) return { state: 'failed', error: new Error(`not tried: '${hung}' has hung before`) };
  const startedAt = performance.now();
  let timer: NodeJS.Timeout | undefined;
  try {
    await Promise.race([
      feature.run(scene),
      new Promise((_, reject) => {
        const late = (): void => reject(new Hung(`no end of '${feature.id}' in ${FEATURE_TIMEOUT_MS} ms`));
        timer = setTimeout(late, FEATURE_TIMEOUT_MS);
      }),
    ]);
    return { state: 'passed', ms: performance.now() - startedAt };
  } catch (thrown) {
    const error = thrown as Error;
    const told = outputs(scene.engine, [scene.client, scene.partner]);
    error.message = `${scene.client.name}, ${feature.id}: ${error.message}\n${told}`;
    return { state: 'failed', error };
  } finally {
    clearTimeout(timer);
  }
}

function outputs(engine: CompatEngine, clients: readonly ClientProcess[]): string {
  const parts = [...clients.map(({ name, output }) => [name, output]), ['engine', engine.output]];
  return parts.map(([name, output]) => `--- ${name}\n${(output as string).slice(-TOLD_CHARS)}`).join('\n');
}
