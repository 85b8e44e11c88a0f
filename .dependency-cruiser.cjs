/**
 * The arrows of docs/architecture.md: protocol <- core <- workers <- engine (wiring) <- cli, apps.
 * Run on the sources: `pnpm check:deps`.
 */

const ENGINE = '^packages/engine/src/';

/** Rooms of the engine beside `core/` and `workers/`. */
const ROOMS = ['storage', 'config', 'listener', 'supervisor', 'values', 'remote', 'redis'];

/** The one constant that everybody may know. */
const VERSION = `${ENGINE}version[.]ts$`;

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      severity: 'error',
      comment: 'Two modules that need each other at run time are one module, or miss a third.',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'unresolved',
      severity: 'error',
      comment: 'Names a file or package that is not there, or not in its package.json.',
      from: {},
      // The SDKs' packages name type files that they do not contain.
      to: { couldNotResolve: true, pathNot: '^iii-sdk(-|$)' },
    },
    {
      name: 'undeclared-dependency',
      severity: 'error',
      comment: 'A package must name what it imports in its own dependencies.',
      from: { path: '^packages/[^/]+/src/', pathNot: '[.]test[.]ts$' },
      // Types of an optional peer are a developer's dependency: at run time its user has it, or it is not loaded.
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'dev-dependency-in-source',
      severity: 'error',
      comment: 'What is published may not import what only developers have.',
      from: { path: '^packages/(protocol|engine|cli|testing)/src/', pathNot: '[.]test[.]ts$' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'], pathNot: 'node_modules/@types/' },
    },
    {
      name: 'protocol-stands-alone',
      severity: 'error',
      comment: 'The wire has no I/O and depends on nothing but zod.',
      from: { path: '^packages/protocol/src/', pathNot: '[.]test[.]ts$' },
      to: { pathNot: ['^packages/protocol/src/', '/node_modules/zod/', '^zod$'] },
    },
    {
      name: 'packages-through-index',
      severity: 'error',
      comment: 'Packages meet only through their exports.',
      from: { path: '^(packages|apps)/([^/]+)/|^tests/' },
      to: { path: '^packages/[^/]+/src/', pathNot: '^packages/$2/' },
    },
    {
      name: 'engine-below-cli',
      severity: 'error',
      comment: 'The engine knows neither the command, nor the test kit, nor the benchmarks.',
      from: { path: ENGINE, pathNot: '[.]test[.]ts$' },
      to: { path: '^packages/(?!engine/|protocol/)' },
    },
    {
      name: 'core-knows-nobody',
      severity: 'error',
      comment: 'The core imports the protocol and itself.',
      from: { path: `${ENGINE}core/`, pathNot: '[.]test[.]ts$' },
      to: { path: ENGINE, pathNot: `${ENGINE}core/` },
    },
    {
      name: 'rooms-know-the-core',
      severity: 'error',
      comment: 'A room imports the core, the protocol and itself; the wiring brings rooms together.',
      from: { path: `${ENGINE}(${ROOMS.join('|')})/`, pathNot: '[.]test[.]ts$' },
      to: { path: ENGINE, pathNot: [`${ENGINE}core/`, `${ENGINE}$1/`, VERSION] },
    },
    {
      name: 'workers-are-strangers',
      severity: 'error',
      comment: 'Built-ins meet through function ids, never by import.',
      from: { path: `${ENGINE}workers/([^/]+)/` },
      to: { path: `${ENGINE}workers/`, pathNot: `${ENGINE}workers/$1/` },
    },
    {
      name: 'workers-know-the-core',
      severity: 'error',
      comment:
        'A built-in gets a WorkerHost and nothing else; of storage it knows the contract of a store module. Some rooms it sees through their index.',
      from: { path: `${ENGINE}workers/([^/]+)/`, pathNot: '[.]test[.]ts$' },
      to: {
        path: ENGINE,
        pathNot: [
          `${ENGINE}core/`,
          `${ENGINE}workers/`,
          `${ENGINE}storage/store-module[.]ts$`,
          `${ENGINE}(listener|config|values|remote|redis)/index[.]ts$`,
          `${ENGINE}values/plain[.]ts$`,
          VERSION,
        ],
      },
    },
    {
      name: 'workers-through-index',
      severity: 'error',
      comment: 'The wiring sees a built-in or a room through its index.ts.',
      from: { path: `${ENGINE}([^/]+[.]ts$|workers/[^/]+[.]ts$)`, pathNot: '[.]test[.]ts$' },
      to: {
        path: `${ENGINE}(workers/[^/]+|${ROOMS.join('|')})/`,
        pathNot: [`${ENGINE}(workers/[^/]+|${ROOMS.join('|')})/index[.]ts$`, `${ENGINE}storage/store-module[.]ts$`],
      },
    },
    {
      name: 'nothing-from-dist',
      severity: 'error',
      comment: 'Built output is reached through a package name, never by path.',
      from: { path: '^(packages|apps|tests)/' },
      to: { path: '/dist/', dependencyTypes: ['local', 'localmodule'], pathNot: 'node_modules' },
    },
    {
      name: 'nothing-from-tests',
      severity: 'error',
      comment: 'Tests are leaves.',
      from: { path: '^packages/[^/]+/src/', pathNot: '[.]test[.]ts$' },
      to: { path: '^tests/|[.]test[.]ts$' },
    },
  ],
  options: {
    doNotFollow: { path: ['node_modules', '/dist/'] },
    exclude: { path: ['(^|/)(data|[.]iii|[.]venv|fixtures|suite|simulation)/'] },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.tests.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['types', 'import', 'node', 'default'],
    },
  },
};
