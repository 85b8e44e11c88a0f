export { StorageThreads } from './storage-threads.js';
export { StorageCode } from './errors.js';
export {
  backupDatabase,
  inspectDatabase,
  repairDatabase,
  takeDataFolder,
  type Backup,
  type Finding,
  type Inspection,
  type Repair,
} from './doctor/index.js';
