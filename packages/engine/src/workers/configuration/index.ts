import { settingsFolder, type ConfigurationSource } from '../../config/index.js';
import { defineWorker, type WorkerDefinition } from '../../core/worker-host.js';
import { configurationConfig, defaultBlock } from './config.js';
import { ConfigurationEvents } from './events.js';
import { configurationFunctions } from './functions.js';
import { ConfigurationService } from './service.js';
import { configurationTriggerType } from './triggers.js';

export { ConfigurationCode } from './errors.js';

/**
 * Registers, stores and watches settings: those of the built-in workers, where the project keeps
 * them, and those that other workers register.
 *
 * @param source - asked when the worker starts
 */
export function configurationWorker(source: () => ConfigurationSource): WorkerDefinition {
  return defineWorker({
    name: 'configuration',
    aliases: ['iii-configuration'],
    description: 'Register, store, and watch typed configuration values for the engine.',
    config: configurationConfig,
    defaultBlock,
    start(host, config) {
      const events = new ConfigurationEvents(host);
      const folderOf = (block: unknown): string | undefined => {
        const { folder } = source();
        return folder === undefined ? undefined : settingsFolder(folder, block);
      };
      let folder = folderOf(config);
      let service = new ConfigurationService(source(), folder, events, host.log);
      for (const definition of configurationFunctions(() => service)) host.registerFunction(definition);
      host.registerTriggerType(configurationTriggerType(events));
      return {
        async reconfigure(changed) {
          const next = folderOf(changed);
          if (next === folder) return;
          const successor = new ConfigurationService(source(), next, events, host.log);
          const previous = service;
          [service, folder] = [successor, next];
          await previous.stop();
        },
        async stop() {
          events.stop();
          await service.stop();
        },
      };
    },
  });
}
