import { defineWorker } from '../../core/worker-host.js';
import { defaultBlock, pubsubConfig, validatePubsubConfig, type PubsubConfig } from './config.js';
import { Delivery } from './delivery.js';
import { publishFunction } from './functions.js';
import { Subscriptions } from './subscriptions.js';
import { subscribeTriggerType } from './triggers.js';

/** Messages to whoever listens now: at most once, nothing is kept. */
export const pubsubWorker = defineWorker<PubsubConfig>({
  name: 'pubsub',
  aliases: ['iii-pubsub'],
  description: 'Publish and subscribe between live workers, at most once',
  config: pubsubConfig,
  defaultBlock,
  validate: validatePubsubConfig,

  start(host) {
    const subscriptions = new Subscriptions();
    host.registerFunction(publishFunction(new Delivery(host, subscriptions)));
    host.registerTriggerType(subscribeTriggerType(host, subscriptions));
    return {
      // The one adapter of this version has no settings.
      reconfigure: () => undefined,
      stop: () => subscriptions.clear(),
    };
  },
});
