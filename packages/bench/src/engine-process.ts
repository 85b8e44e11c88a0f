/**
 * Entry of the engine's own process: `node engine-process.js CONFIG-AS-JSON`, in the folder of its
 * data. Prints its ports as one JSON line; SIGTERM stops it cleanly (a CPU profile is written then).
 */
import { createEngine } from '@trine/engine';
import type { ReadyLine } from './target.js';

const config = JSON.parse(process.argv[2] ?? '{}') as { workers: { name: string; config?: unknown }[] };
const engine = await createEngine({ cwd: process.cwd(), config });
await engine.start();

const httpPort = engine.ports['http'];
const ready: ReadyLine = { port: Number(new URL(engine.url).port), ...(httpPort === undefined ? {} : { httpPort }) };
process.stdout.write(`${JSON.stringify(ready)}\n`);

process.once('SIGTERM', () => {
  void engine.stop().then(() => process.exit(0));
});
