import { defineWorker, type WorkerDefinition } from '../../core/worker-host.js';
import { defaultBlock, httpFunctionsConfig, securitySettings, type HttpFunctionsConfig } from './config.js';
import { RemoteFunctions } from './remote-functions.js';
import { UrlGuard, type GuardParts } from './url-guard.js';

export interface HttpFunctionsParts extends GuardParts {
  /** Where registrations find the secrets they name. */
  readonly env: NodeJS.ProcessEnv;
}

/** Functions that live behind HTTP addresses: the engine calls them for the workers that register them. */
export function httpFunctionsWorker(parts: () => HttpFunctionsParts): WorkerDefinition {
  return defineWorker<HttpFunctionsConfig>({
    name: 'http-functions',
    aliases: ['iii-http-functions'],
    description: 'Call functions that live behind HTTP addresses.',
    config: httpFunctionsConfig,
    defaultBlock,

    start(host, config) {
      const { env, ...guardParts } = parts();
      const guard = (settings: unknown): UrlGuard => new UrlGuard(securitySettings(settings), guardParts);
      const functions = new RemoteFunctions(host, env, guard(config));
      const registration = host.serveHttpFunctions(functions);
      return {
        reconfigure(next) {
          functions.guard = guard(next);
        },
        stop() {
          registration.remove();
          functions.stop();
        },
      };
    },
  });
}
