export { startDiscovery, type Discovery } from './discovery.js';
export type { BuiltInInfo, DiscoverySource } from './source.js';
export { default as triggerStore } from './store.js';
