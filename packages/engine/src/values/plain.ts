/** What a store module needs of this room: no schemas, for the storage threads load it too. */
export { compactBytes } from './json-text.js';
export { applyUpdateOps, type UpdateOp, type UpdateOpError } from './update-ops.js';
