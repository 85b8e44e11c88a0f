export type {
  ProjectEvent,
  SupervisedCatalog,
  SupervisedEditor,
  SupervisedEntry,
  SupervisedProject,
} from './project.js';
export { supervisorWorker } from './supervisor-worker.js';
