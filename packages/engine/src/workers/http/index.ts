import { defineWorker, type WorkerHost } from '../../core/worker-host.js';
import { defaultBlock, httpConfig, httpSettings, type HttpConfig, type HttpSettings } from './config.js';
import { corsWarning } from './cors.js';
import { Gateway } from './gateway.js';
import { Limiter } from './limiter.js';
import { Listeners } from './listeners.js';
import { Routes } from './routes.js';
import { PRE_HANDLER, snapshotOf } from './snapshot.js';
import { httpTriggerType, logRegistered } from './triggers.js';

/** Time for open requests at a stop, in milliseconds. */
const STOP_GRACE_MS = 3_000;

/** Functions as HTTP endpoints. */
export const httpWorker = defineWorker<HttpConfig>({
  name: 'http',
  aliases: ['iii-http'],
  description: 'Expose functions as HTTP endpoints.',
  config: httpConfig,
  defaultBlock,

  async start(host, config) {
    const settings = httpSettings(config);
    const routes = new Routes((route) => {
      logRegistered(host, route);
      host.activateTrigger(route.triggerId);
    });
    const limiter = new Limiter(placesOf(settings));
    const gateway = new Gateway({ host, routes, limiter }, snapshotOf(settings));
    const listeners = new Listeners(host, (req, res, target, listener) => gateway.serve(req, res, target, listener));
    await listeners.open(settings);
    warnOf(host, settings);
    host.registerTriggerType(httpTriggerType(host, routes));

    return {
      async reconfigure(next) {
        const changed = httpSettings(next);
        const old = listeners.addresses;
        try {
          await listeners.open(changed);
        } catch (error) {
          host.log.error('the HTTP server stays where it is', { address: old });
          throw error;
        }
        gateway.snapshot = snapshotOf(changed);
        limiter.setLimit(placesOf(changed));
        warnOf(host, changed);
      },
      drain() {
        gateway.drain();
        listeners.close();
      },
      isIdle: () => gateway.open === 0,
      async stop() {
        gateway.drain();
        await listeners.stop(gateway.idle(), STOP_GRACE_MS);
      },
    };
  },
});

function placesOf(settings: HttpSettings): number {
  return Math.max(1, settings.concurrency_request_limit);
}

/** What is accepted and hardly meant. */
function warnOf(host: WorkerHost, settings: HttpSettings): void {
  if (settings.concurrency_request_limit === 0) host.log.warn('concurrency_request_limit: 0 counts as 1');
  const cors = corsWarning(settings.cors);
  if (cors !== undefined) host.log.warn(cors);
  for (const { function_id, phase } of settings.middleware) {
    if (phase !== PRE_HANDLER)
      host.log.warn(`middleware of a phase other than ${PRE_HANDLER} never runs`, { function: function_id, phase });
    else if (!host.registry.hasFunction(function_id)) {
      host.log.warn('global middleware is not registered yet: until it is, every request is answered with 500', {
        function: function_id,
      });
    }
  }
}
