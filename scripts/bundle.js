/**
 * Puts the engine and its libraries into few files, `packages/engine/dist/bundled/`, that the command loads: half a
 * thousand modules take longer to find and to link than everything else at a start. Threads load their own few modules
 * from where they are, and what has native parts stays outside.
 *
 * Does nothing when the bundle is of what is there now. Part of `pnpm build`.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build as bundle } from 'esbuild';
import { ROOT } from './root.js';

const DIST = join(ROOT, 'packages/engine/dist');
const PROTOCOL_DIST = join(ROOT, 'packages/protocol/dist');
const TARGET = join(DIST, 'bundled');
const LICENSES = 'LICENSES.txt';
/** What the bundle was made of, and the files that it has. */
const STAMP = 'stamp.json';
/** `utf-8-validate` is looked for by ws and not used. */
const NATIVE = ['better-sqlite3', 'bufferutil', 'utf-8-validate'];
const LICENSE_FILE = /^(licen[cs]e|notice)([.-].*)?$/i;

export async function bundleEngine() {
  const inputs = [
    fileURLToPath(import.meta.url),
    join(ROOT, 'pnpm-lock.yaml'),
    ...builtFiles(DIST),
    ...builtFiles(PROTOCOL_DIST),
  ];
  const made = fingerprint(inputs);
  if (isMadeOf(made)) return;
  // Beside its place, and put there whole: an engine may be starting.
  const folder = `${TARGET}-${process.pid}`;
  const { metafile } = await bundle({
    entryPoints: [join(DIST, 'index.js')],
    absWorkingDir: ROOT,
    outdir: folder,
    bundle: true,
    splitting: true,
    metafile: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    external: NATIVE,
    // They lead on to the TypeScript, through those of the compiler.
    sourcemap: true,
    sourcesContent: false,
    // Parts of it that are no ES modules ask for Node's own by `require`.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module';\nconst require = __createRequire(import.meta.url);",
    },
    plugins: [ownPlaces, oneLanguage],
    logLevel: 'warning',
  });
  writeFileSync(join(folder, LICENSES), licensesOf(Object.keys(metafile.inputs)));
  const files = [...Object.keys(metafile.outputs).map((path) => basename(path)), LICENSES];
  writeFileSync(join(folder, STAMP), JSON.stringify({ made, files }));
  for (const name of readdirSync(DIST)) {
    const [, pid] = /^bundled-(\d+)$/.exec(name) ?? [];
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(DIST, name), { recursive: true, force: true });
  }
  try {
    rmSync(TARGET, { recursive: true, force: true });
    renameSync(folder, TARGET);
  } catch (error) {
    // Another build of the same was faster.
    rmSync(folder, { recursive: true, force: true });
    if (!isMadeOf(made)) throw error;
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** @param {string[]} inputs */
function fingerprint(inputs) {
  const lines = inputs.map((file) => `${relative(ROOT, file)} ${statSync(file).mtimeMs} ${statSync(file).size}`);
  return createHash('sha256').update(lines.sort().join('\n')).digest('hex');
}

/** @param {string} made */
function isMadeOf(made) {
  try {
    /** @type {{ made: string, files: string[] }} */
    const stamp = JSON.parse(readFileSync(join(TARGET, STAMP), 'utf8'));
    return stamp.made === made && stamp.files.every((name) => existsSync(join(TARGET, name)));
  } catch {
    return false;
  }
}

/** What a module says of its own place (`import.meta`) stays true of the file that it was. */
/** @type {import('esbuild').Plugin} */
const ownPlaces = {
  name: 'own-places',
  setup(build) {
    build.onLoad({ filter: /[.]js$/ }, ({ path }) => {
      if (!path.startsWith(DIST + sep)) return undefined;
      const place = JSON.stringify(`../${relative(DIST, path).split(sep).join('/')}`);
      const source = readFileSync(path, 'utf8');
      const other = /import[.]meta(?![.]url\b)[.\w]*/.exec(source);
      if (other !== null)
        return {
          errors: [{ text: `${other[0]} would be that of the bundle: use import.meta.url`, location: { file: path } }],
        };
      return {
        contents: source.replaceAll('import.meta.url', `new URL(${place}, import.meta.url).href`),
        loader: 'js',
      };
    });
  },
};

/** The messages of zod in fifty languages: the engine speaks English. */
/** @type {import('esbuild').Plugin} */
const oneLanguage = {
  name: 'one-language',
  setup(build) {
    build.onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index[.]js$/ }, () => ({
      contents: "export { default as en } from './en.js';",
      loader: 'js',
    }));
  },
};

/** @param {string} folder */
function builtFiles(folder) {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.js') && !name.startsWith('bundled'))
    .map((name) => join(folder, name));
}

/**
 * The terms of the libraries inside, which their copies must carry.
 *
 * @param {string[]} inputs - of the bundle, from the root
 */
function licensesOf(inputs) {
  const folders = new Set(inputs.flatMap((input) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []));
  const parts = [...folders].map((folder) => {
    const path = join(ROOT, folder);
    /** @type {{ name: string, version: string, license?: string }} */
    const { name, version, license = 'see below' } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
    const texts = readdirSync(path)
      .filter((file) => LICENSE_FILE.test(file))
      .map((file) => readFileSync(join(path, file), 'utf8').trim());
    return { name, text: `${name} ${version} (${license})\n\n${texts.join('\n\n')}\n` };
  });
  parts.sort((a, b) => (a.name < b.name ? -1 : 1));
  return `The files beside this one contain these libraries:\n\n${parts.map(({ text }) => text).join(`\n${'-'.repeat(80)}\n\n`)}`;
}
