export { backupDatabase, type Backup } from './backup.js';
export { inspectDatabase, type Finding, type Inspection } from './inspect.js';
export { repairDatabase, type Repair } from './repair.js';
export { takeDataFolder } from './data-folder.js';
