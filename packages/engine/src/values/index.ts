export * from './plain.js';
export { elementTexts, nestingDepth } from './json-text.js';
export { ReadThrough, UNCHANGED } from './read-through.js';
export { TriggerLanes, type Lane, type LaneDelivery } from './trigger-lanes.js';
export { readUpdateOps, updateOpsText } from './update-input.js';
export { updateErrorsSchema, updateOpSchema } from './update-schema.js';
export { ValueCache } from './value-cache.js';
