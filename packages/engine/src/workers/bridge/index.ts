import { defineWorker } from '../../core/worker-host.js';
import { RemoteEngine } from '../../remote/index.js';
import { bridgeConfig, bridgeSettings, validateBridgeConfig, type BridgeConfig } from './config.js';
import { exposeFunction } from './expose.js';
import { forwardFunction, invokeFunctions } from './functions.js';

/** Functions of another engine here, and functions of this one there. */
export const bridgeWorker = defineWorker<BridgeConfig>({
  name: 'bridge',
  aliases: ['iii-bridge'],
  description: 'Connect to another engine to expose and forward functions.',
  config: bridgeConfig,
  validate: validateBridgeConfig,

  start(host, config) {
    const settings = bridgeSettings(config);
    const { clock, random, log } = host;
    const remote = new RemoteEngine({ url: settings.url, name: 'iii-bridge-client', clock, random, log });
    for (const definition of invokeFunctions(remote)) host.registerFunction(definition);
    for (const forward of settings.forward) host.registerFunction(forwardFunction(remote, forward));
    for (const exposed of settings.expose) exposeFunction(host, remote, exposed);
    remote.open();
    return { stop: () => remote.close() };
  },
});
