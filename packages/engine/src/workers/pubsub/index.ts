import { isDeepStrictEqual } from 'node:util';
import { defineWorker, type Registration, type WorkerHost } from '../../core/worker-host.js';
import { openLocal, type PubsubAdapter } from './adapters/index.js';
import { defaultBlock, pubsubConfig, type PubsubConfig } from './config.js';
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

  async start(host, config) {
    const subscriptions = new Subscriptions();
    const delivery = new Delivery(host, subscriptions);
    const open = async (wanted: PubsubConfig): Promise<PubsubAdapter> => {
      if (wanted?.adapter?.name !== 'redis') return openLocal(delivery);
      // Loaded here, so that an engine without it loads nothing of it.
      const { openRedisPubsub } = await import('./adapters/redis.js');
      return openRedisPubsub(host, wanted.adapter.config?.redis_url ?? undefined, delivery);
    };
    let current = config;
    let adapter = await open(config);
    host.registerFunction(publishFunction(() => adapter));
    host.registerTriggerType(subscribeTriggerType(host, subscriptions, () => adapter));
    let reporting = report(host, adapter);
    return {
      async reconfigure(changed) {
        const next = changed as PubsubConfig;
        if (isDeepStrictEqual(next?.adapter, current?.adapter)) return;
        const opened = await open(next);
        for (const topic of subscriptions.topics) await opened.listen(topic, true);
        const previous = adapter;
        adapter = opened;
        current = next;
        reporting?.remove();
        reporting = report(host, adapter);
        previous.close();
      },
      stop() {
        reporting?.remove();
        adapter.close();
        subscriptions.clear();
      },
    };
  },
});

/** Health, where messages travel over a server elsewhere. */
function report(host: WorkerHost, adapter: PubsubAdapter): Registration | undefined {
  if (adapter.health === undefined) return undefined;
  return host.reportHealth(() => {
    const { state, detail } = adapter.health?.() ?? { state: 'ready' };
    return { status: state === 'ready' ? 'healthy' : 'degraded', details: { state, detail } };
  });
}
