import { isDeepStrictEqual } from 'node:util';
import { defineWorker } from '../../core/worker-host.js';
import { openBridge, openKv, type StreamAdapter } from './adapters/index.js';
import {
  defaultBlock,
  streamConfig,
  streamPlace,
  streamSettings,
  validateStreamConfig,
  type StreamConfig,
  type StreamPlace,
} from './config.js';
import { streamFunctions } from './functions.js';
import { StreamServer } from './stream-server.js';
import { StreamTriggers } from './stream-triggers.js';
import { Streams } from './streams.js';
import { Subscriptions } from './subscriptions.js';
import { JoinTriggers, LeaveTriggers } from './visit-triggers.js';

export { default as streamStore } from './store.js';

/** Items by stream and group, on disk before a write is answered, told to triggers and sockets. */
export const streamWorker = defineWorker<StreamConfig>({
  name: 'stream',
  aliases: ['iii-stream'],
  description: 'Build durable streams for real-time data subscriptions.',
  config: streamConfig,
  defaultBlock,
  validate: validateStreamConfig,

  async start(host, config) {
    const triggers = new StreamTriggers(host);
    const subscriptions = new Subscriptions();
    const listeners = [subscriptions, triggers];
    const open = async (at: StreamPlace): Promise<StreamAdapter> => {
      if (at.kind === 'bridge') {
        return openBridge(host, {
          url: at.url,
          onEvent: (event) => listeners.forEach((listener) => listener.emit(event)),
          onReset: () => server.resync(),
        });
      }
      if (at.file === ':memory:') {
        host.log.warn('streams are kept in memory only: they are gone when the engine stops', {
          store_method: 'in_memory',
        });
      }
      return openKv(host.storage, at.file);
    };

    const settings = streamSettings(config);
    let place = streamPlace(settings, host.projectDir);
    const streams = new Streams(host, await open(place), listeners);
    const joins = new JoinTriggers(host);
    const leaves = new LeaveTriggers(host);
    const server = new StreamServer({ host, streams, subscriptions, joins, leaves });
    server.authFunction = settings.auth_function ?? undefined;
    // Before the port opens: triggers that wait for these types guard it from the first client on.
    for (const definition of streamFunctions(streams)) host.registerFunction(definition);
    host.registerTriggerType(triggers.definition((stream) => streams.watch(stream)));
    host.registerTriggerType(joins.definition());
    host.registerTriggerType(leaves.definition());
    try {
      await server.open(settings);
    } catch (error) {
      await streams.close();
      throw error;
    }
    server.warnIfOpen();

    return {
      async reconfigure(changed) {
        const next = streamSettings(changed);
        const nextPlace = streamPlace(next, host.projectDir);
        const moved = !isDeepStrictEqual(nextPlace, place);
        const adapter = moved ? await open(nextPlace) : undefined;
        try {
          await server.open(next);
        } catch (error) {
          await adapter?.close();
          throw error;
        }
        // Nothing below can fail. Clients stay connected and read anew from the new place.
        server.authFunction = next.auth_function ?? undefined;
        server.warnIfOpen();
        if (adapter === undefined) return;
        place = nextPlace;
        const closed = streams.move(adapter);
        server.resync();
        await closed;
      },
      drain: () => server.drain(),
      async stop() {
        for (const each of [triggers, joins, leaves]) each.stop();
        await server.stop();
        await streams.close();
      },
    };
  },
});
