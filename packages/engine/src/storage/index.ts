export { StorageThreads } from './storage-threads.js';
export { StorageCode } from './errors.js';
