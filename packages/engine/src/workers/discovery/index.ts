export { startDiscovery } from './discovery.js';
export type { BuiltInInfo, DiscoverySource } from './source.js';
