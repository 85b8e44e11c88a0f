export * from './errors.js';
export * from './payload.js';
export * from './frames.js';
export * from './ids.js';
export { decodeFrame } from './decode.js';
export * from './encode.js';
export * from './own-text.js';
export { JsonSyntaxError, MAX_JSON_DEPTH, memberText, scanObject, type ObjectSpans } from './scan.js';
