export * from './fake-clock.js';
export * from './temp-folder.js';
export * from './wait-for.js';
export * from './raw-worker.js';
export * from './stream-client.js';
export * from './http-engine.js';
export * from './cutting-proxy.js';
export * from './server-process.js';
export { RawChannel, type RawChannelRef } from './raw-channel.js';
