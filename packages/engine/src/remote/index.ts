export { RemoteCode } from './errors.js';
export { crossBridge, MAX_HOPS } from './hops.js';
export {
  DEFAULT_REMOTE_TIMEOUT_MS,
  RemoteEngine,
  type IncomingCall,
  type RemoteCall,
  type RemoteContext,
  type RemoteEngineOptions,
} from './remote-engine.js';
export { tooManyHops } from './errors.js';
export { remoteUrl } from './remote-url.js';
