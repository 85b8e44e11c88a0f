export { createEngine, Engine, type EngineOptions, type StopOptions } from './engine.js';
export {
  TriggerAction,
  type EmbeddedWorker,
  type FunctionHandle,
  type FunctionOptions,
  type TriggerHandle,
  type TriggerInput,
  type TriggerRequest,
} from './core/embedded-worker.js';
export { ChannelReader, ChannelWriter, type ChannelPair } from './core/channel-streams.js';
export type { ChannelDirection, ChannelRef } from './core/channel.js';
export { MAX_TIMER_MS, systemClock, type Clock, type Timer } from './core/clock.js';
export { systemRandom, type Random } from './core/random.js';
export { silentLog, type Log, type LogFields } from './core/log.js';
export { createLog, type LogFormat, type LogLevel, type LogOptions, type LogOutput } from './core/log-writer.js';
export { ConfigError, type ConfigFault } from './config/index.js';
export { ENGINE_VERSION } from './version.js';
export { ErrorCode, TrineError } from '@trine/protocol';
