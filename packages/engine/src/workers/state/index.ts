import { isDeepStrictEqual } from 'node:util';
import { defineWorker, type Registration, type WorkerHost } from '../../core/worker-host.js';
import { openBridge, openKv, type StateAdapter } from './adapters/index.js';
import { defaultBlock, maxValueBytes, stateConfig, statePlace, type StateConfig, type StatePlace } from './config.js';
import { StateEvents } from './events.js';
import { stateFunctions, type StateService } from './functions.js';
import { stateTriggerType } from './triggers.js';

export { default as stateStore } from './store.js';

/** Values by scope and key, on disk before a write is answered, with triggers on every change. */
export const stateWorker = defineWorker<StateConfig>({
  name: 'state',
  aliases: ['iii-state'],
  description: 'Key-value state by scope and key, with triggers on changes',
  config: stateConfig,
  defaultBlock,

  async start(host, config) {
    const open = async (at: StatePlace): Promise<StateAdapter> => {
      if (at.kind === 'bridge') return openBridge(host, at.url);
      if (at.kind === 'redis') {
        // Loaded here, so that an engine without it loads nothing of it.
        const { openRedisState } = await import('./adapters/redis.js');
        return openRedisState(host, at);
      }
      if (at.file === ':memory:')
        host.log.warn('state is kept in memory only: it is gone when the engine stops', { store_method: 'in_memory' });
      return openKv(host.storage, at.file);
    };
    let place = statePlace(config, host.projectDir);
    const events = new StateEvents(host);
    const service: StateService = {
      adapter: await open(place),
      triggersEnabled: config?.triggers_enabled ?? true,
      maxValueBytes: maxValueBytes(config),
      events,
    };
    for (const definition of stateFunctions(service)) host.registerFunction(definition);
    host.registerTriggerType(stateTriggerType(events));
    let reporting = report(host, service);

    return {
      async reconfigure(changed) {
        const next = changed as StateConfig;
        const nextPlace = statePlace(next, host.projectDir);
        const previous = service.adapter;
        const moved = !isDeepStrictEqual(nextPlace, place);
        if (moved) service.adapter = await open(nextPlace);
        // The whole configuration changes in this turn; what is under way on the old place ends there.
        place = nextPlace;
        service.triggersEnabled = next?.triggers_enabled ?? true;
        service.maxValueBytes = maxValueBytes(next);
        if (!moved) return;
        reporting?.remove();
        reporting = report(host, service);
        await previous.close();
      },
      async stop() {
        events.stop();
        reporting?.remove();
        await service.adapter.close();
      },
    };
  },
});

/** Health, where state lies on a server elsewhere. */
function report(host: WorkerHost, { adapter }: StateService): Registration | undefined {
  if (adapter.health === undefined) return undefined;
  return host.reportHealth(() => {
    const { state, detail, durability } = adapter.health?.() ?? { state: 'ready' };
    return { status: state === 'ready' ? 'healthy' : 'degraded', details: { state, durability, detail } };
  });
}
