export type { Catalog, CatalogEntry } from './catalog.js';
export { configFolder, parseProject, projectFromValue, type ParseProjectOptions, type ProjectFromValueOptions } from './parse.js';
export { CONFIG_ERROR, ConfigError, type ConfigFault } from './errors.js';
export { diffProjects, type ProjectDiff } from './diff.js';
export type { ProjectConfig, WorkerEntry } from './project.js';
