/**
 * Puts the engine and its libraries into few files, `packages/engine/dist/bundled/`, that the command loads: half a
 * thousand modules take longer to find and to link than everything else at a start. Threads load their own few modules
 * from where they are, and what has native parts stays outside.
 *
 * Does nothing when the bundle is newer than what it is made of. Part of `pnpm build`.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build as bundle } from 'esbuild';
import { ROOT } from './root.js';

const DIST = join(ROOT, 'packages/engine/dist');
const PROTOCOL_DIST = join(ROOT, 'packages/protocol/dist');
const TARGET = join(DIST, 'bundled');
const LICENSES = join(TARGET, 'LICENSES.txt');
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
  const newest = Math.max(...inputs.map((file) => statSync(file).mtimeMs));
  // Written last: half a bundle is none.
  if (existsSync(LICENSES) && statSync(LICENSES).mtimeMs > newest) return;
  rmSync(TARGET, { recursive: true, force: true });
  const { metafile } = await bundle({
    entryPoints: [join(DIST, 'index.js')],
    absWorkingDir: ROOT,
    outdir: TARGET,
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
  mkdirSync(TARGET, { recursive: true });
  writeFileSync(LICENSES, licensesOf(Object.keys(metafile.inputs)));
}

/** What a module says of its own place (`import.meta`) stays true of the file that it was. */
/** @type {import('esbuild').Plugin} */
const ownPlaces = {
  name: 'own-places',
  setup(build) {
    build.onLoad({ filter: /[.]js$/ }, ({ path }) => {
      if (!path.startsWith(DIST + sep)) return undefined;
      const place = JSON.stringify(`../${relative(DIST, path).split(sep).join('/')}`);
      const contents = readFileSync(path, 'utf8')
        .replaceAll('import.meta.url', `new URL(${place}, import.meta.url).href`)
        .replaceAll(
          'import.meta.filename',
          `(await import('node:url')).fileURLToPath(new URL(${place}, import.meta.url))`,
        );
      return { contents, loader: 'js' };
    });
  },
};

/** The messages of zod in fifty languages: the engine speaks English. */
/** @type {import('esbuild').Plugin} */
const oneLanguage = {
  name: 'one-language',
  setup(build) {
    build.onLoad({ filter: /[/]zod[/]v4[/]locales[/]index[.]js$/ }, () => ({
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
