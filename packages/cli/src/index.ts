export { createProgram, runProgram } from './program.js';
export { CLI_VERSION } from './version.js';
