/**
 * All but the check of frames, which needs schemas: for threads, which load the package once more each and read no
 * frames.
 */
export * from './encode.js';
export * from './errors.js';
export * from './frames.js';
export * from './ids.js';
export * from './own-text.js';
export * from './payload.js';
export { JsonSyntaxError, MAX_JSON_DEPTH, memberText, scanObject, type ObjectSpans } from './scan.js';
