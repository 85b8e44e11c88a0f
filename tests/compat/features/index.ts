import { access } from './access.js';
import { calls } from './calls.js';
import { channels } from './channels.js';
import { data } from './data.js';
import { restart } from './engine-restart.js';
import type { Feature } from './feature.js';
import { http } from './http.js';
import { httpFunctions } from './http-functions.js';
import { logs } from './logs.js';
import { newest } from './newest.js';
import { triggerTypes } from './trigger-types.js';

export { STANDARD_FUNCTIONS, type Feature, type Scene } from './feature.js';

/** Rows of the matrix, in its order. */
export const FEATURES: readonly Feature[] = [
  ...calls,
  // Before a second client of a process ends: the SDKs keep one telemetry per process.
  ...logs,
  ...data,
  ...triggerTypes,
  ...http,
  ...channels,
  ...access,
  ...httpFunctions,
  ...newest,
  ...restart,
];
