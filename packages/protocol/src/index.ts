export * from './plain.js';
export { decodeFrame } from './decode.js';
