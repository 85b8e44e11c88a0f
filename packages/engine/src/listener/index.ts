export { isLoopback, moveAddresses, openAddresses, type AddressOptions, type MoveOptions } from './addresses.js';
export { formatAddress } from './format-address.js';
export { bindError, ListenerCode } from './errors.js';
export { Heartbeat, type HeartbeatOptions } from './heartbeat.js';
export { WorkerListener, type WorkerListenerOptions } from './worker-listener.js';
export { createListeningServer, isSecure, renew } from './listening-server.js';
export { originAllowed } from './origin.js';
export { tlsConfig, TlsFiles, type TlsSettings } from './tls-files.js';
export { workerManager, DEFAULT_WORKER_PORT, type WorkerManagerParts } from './worker-manager.js';
