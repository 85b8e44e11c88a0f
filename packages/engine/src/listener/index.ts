export { isLoopback, moveAddresses, openAddresses, type AddressOptions, type MoveOptions } from './addresses.js';
export { formatAddress } from './format-address.js';
export { bindError, ListenerCode } from './errors.js';
export { Heartbeat, type HeartbeatOptions } from './heartbeat.js';
export { WorkerListener, type WorkerListenerOptions } from './worker-listener.js';
export { workerManager, DEFAULT_WORKER_PORT, type WorkerManagerParts } from './worker-manager.js';
