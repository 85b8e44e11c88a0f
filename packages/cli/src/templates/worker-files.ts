/**
 * What `iii worker init` writes. The manifests say what the worker is made of and leave install and
 * start to be inferred; `scripts:` may be added later and then win.
 *
 * Versions are those that the tutorial's imports need: `Logger` from npm iii-sdk up to 0.18, and
 * `register_worker, InitOptions, Logger` from PyPI iii-sdk up to 0.18.
 */
import { npmName, pythonName, type WorkerNames } from './worker-names.js';

export type Language = 'typescript' | 'javascript' | 'python';

export interface LanguageTemplate {
  /** The short form shown to people and kept in `.iii/worker.ini`. */
  readonly short: string;
  /** The file to edit. */
  readonly entry: string;
  files(names: WorkerNames): Map<string, string>;
}

const NODE_SDK = '0.11.6';
const TSX = '4.23.15';
const TYPESCRIPT = '^6.0.3';
const NODE_TYPES = '^20.19.0';
const PYTHON_SDK = '>=0.18,<0.19';

export const TEMPLATES: Readonly<Record<Language, LanguageTemplate>> = {
  typescript: {
    short: 'ts',
    entry: 'src/index.ts',
    files: (names) =>
      new Map([
        ['iii.worker.yaml', manifest(names.worker, 'typescript', 'npm', 'src/index.ts')],
        [
          'package.json',
          packageJson(
            names,
            'tsx watch src/index.ts',
            { tsx: TSX },
            { '@types/node': NODE_TYPES, typescript: TYPESCRIPT },
          ),
        ],
        ['tsconfig.json', TSCONFIG],
        ['src/index.ts', typescriptSource(names)],
      ]),
  },
  javascript: {
    short: 'js',
    entry: 'src/index.js',
    files: (names) =>
      new Map([
        ['iii.worker.yaml', manifest(names.worker, 'javascript', 'npm', 'src/index.js')],
        ['package.json', packageJson(names, 'node --watch src/index.js', {}, {})],
        ['src/index.js', javascriptSource(names)],
      ]),
  },
  python: {
    short: 'py',
    entry: 'main.py',
    files: (names) =>
      new Map([
        ['iii.worker.yaml', manifest(names.worker, 'python', 'pip', 'main.py')],
        ['pyproject.toml', pyproject(names)],
        ['main.py', pythonSource(names)],
      ]),
  },
};

function manifest(name: string, kind: string, packageManager: string, entry: string): string {
  return `name: ${JSON.stringify(name)}
runtime:
  kind: ${kind}
  package_manager: ${packageManager}
  entry: ${entry}
`;
}

function packageJson(
  names: WorkerNames,
  start: string,
  dependencies: Readonly<Record<string, string>>,
  devDependencies: Readonly<Record<string, string>>,
): string {
  const content = {
    name: npmName(names.worker),
    version: '0.1.0',
    private: true,
    type: 'module',
    scripts: { start },
    dependencies: { 'iii-sdk': NODE_SDK, ...dependencies },
    ...(Object.keys(devDependencies).length > 0 ? { devDependencies } : {}),
  };
  return `${JSON.stringify(content, null, 2)}\n`;
}

const TSCONFIG = `{
  "compilerOptions": {
    "target": "ES2022",
    "module": "NodeNext",
    "moduleResolution": "NodeNext",
    "types": ["node"],
    "strict": true,
    "skipLibCheck": true,
    "noEmit": true
  },
  "include": ["src"]
}
`;

function typescriptSource(names: WorkerNames): string {
  return `import { registerWorker, Logger } from "iii-sdk";

const worker = registerWorker(process.env.III_URL ?? "ws://localhost:49134", {
  workerName: ${JSON.stringify(names.worker)},
});
const logger = new Logger();

// Try it: iii trigger ${names.camel}::hey name=Ada
worker.registerFunction("${names.camel}::hey", async (payload: { name?: string }) => {
  const name = payload.name ?? "world";
  logger.info("hey was called", { name });
  return { message: \`Hey \${name}!\` };
});

console.log(${JSON.stringify(`${names.worker} worker ready`)});
`;
}

function javascriptSource(names: WorkerNames): string {
  return `import { registerWorker, Logger } from "iii-sdk";

const worker = registerWorker(process.env.III_URL ?? "ws://localhost:49134", {
  workerName: ${JSON.stringify(names.worker)},
});
const logger = new Logger();

// Try it: iii trigger ${names.camel}::hello name=Ada
worker.registerFunction("${names.camel}::hello", async (payload) => {
  const name = payload.name ?? "world";
  logger.info("hello was called", { name });
  return { message: \`Hello \${name}!\` };
});

console.log(${JSON.stringify(`${names.worker} worker ready`)});
`;
}

function pyproject(names: WorkerNames): string {
  return `[project]
name = "${pythonName(names.worker)}"
version = "0.1.0"
requires-python = ">=3.10"
dependencies = [
    "iii-sdk${PYTHON_SDK}",
    "watchfiles",
]

[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"

# A program that runs from this folder, not a library: \`pip install .\` brings its dependencies and
# packs none of the files beside main.py, however many there are.
[tool.setuptools]
py-modules = []
`;
}

function pythonSource(names: WorkerNames): string {
  return `import os

from iii import register_worker, InitOptions, Logger

worker = register_worker(
    os.environ.get("III_URL", "ws://localhost:49134"),
    InitOptions(worker_name=${JSON.stringify(names.worker)}),
)
logger = Logger()


# Try it: iii trigger ${names.snake}::hello name=Ada
def hello(data: dict) -> dict:
    name = data.get("name", "world")
    logger.info(f"hello was called for {name}")
    return {"message": f"Hello {name}!"}


worker.register_function("${names.snake}::hello", hello)

print(${JSON.stringify(`${names.worker} worker ready`)})
`;
}
