export type { Clock, Timer } from './core/clock.js';
export type { Random } from './core/random.js';
export type { Log, LogFields } from './core/log.js';
export * from './core/worker-host.js';
