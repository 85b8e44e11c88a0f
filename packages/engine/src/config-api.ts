/** Reading and editing projects without an engine: `@trine/engine/config`. */
export * from './config/index.js';
export { staticCatalog } from './workers/catalog.js';
