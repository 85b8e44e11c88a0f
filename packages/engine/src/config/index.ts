/** The configuration of a project: what config.yaml says, watched and edited. Knows no worker but by its catalogue. */
export type { Catalog, CatalogEntry } from './catalog.js';
export { CONFIGURATION_ID, readConfigFolder, type FolderFile } from './config-folder.js';
export { CONFIG_ERROR, ConfigError, NotAppliedError, type ConfigFault } from './errors.js';
export type { ConfigurationChange, ConfigurationItem, ConfigurationSource } from './configuration-source.js';
export { diffProjects, type ProjectDiff } from './diff.js';
export { expand, type ExpandOptions } from './expand.js';
export { MemoryProject, type MemoryProjectOptions } from './memory-project.js';
export {
  parseProject,
  projectFromValue,
  settingsFolder,
  type ParseProjectOptions,
  type ProjectFromValueOptions,
} from './parse.js';
export type { ProjectConfig, WorkerEntry } from './project.js';
export { ProjectConfigurationSource, type ChangeableProject } from './project-configuration-source.js';
export { ProjectEditor, type NewWorker } from './project-editor.js';
export { editProject, type EditProjectOptions, type WrittenEdit } from './edit-project.js';
export { ProjectFile, type ProjectEdit, type ProjectFileListener } from './project-file.js';
export { writeAtomically } from './atomic-write.js';
