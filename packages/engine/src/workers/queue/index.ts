import { isDeepStrictEqual } from 'node:util';
import { defineWorker, type HealthReport } from '../../core/worker-host.js';
import type { Broker, Line } from './adapters/index.js';
import { openBroker } from './adapters/open.js';
import {
  defaultBlock,
  namedQueues,
  queueConfig,
  queueFile,
  topicRules,
  validateQueueConfig,
  type QueueWorkerConfig,
} from './config.js';
import { BacklogLosses } from './backlog-losses.js';
import { DeadLetters } from './dead-letters.js';
import { JobEvents, queueEvents } from './events.js';
import { queueFunctions } from './functions.js';
import { LineRunner, type Runs } from './line-runner.js';
import { Queues } from './queues.js';
import { Redrives } from './redrives.js';
import { Topics } from './topics.js';
import { durableSubscriber } from './triggers.js';

export { default as queueStore } from './store.js';

function brokerReport(broker: Broker): HealthReport {
  const { state, detail, durability } = broker.health();
  return {
    status: state === 'ready' ? 'healthy' : 'degraded',
    details: { adapter: broker.adapter, state, durability, detail },
  };
}

/** Named queues and durable topics: at least once, on disk before the reply. */
export const queueWorker = defineWorker<QueueWorkerConfig>({
  name: 'queue',
  aliases: ['iii-queue'],
  description: 'Named queues with retries and dead letters, and durable topics',
  config: queueConfig,
  defaultBlock,
  validate: validateQueueConfig,

  async start(host, config) {
    const file = queueFile(config, host.projectDir);
    if (file === ':memory:') {
      host.log.warn('jobs and messages are kept in memory only: they are gone when the engine stops', {
        store_method: 'in_memory',
      });
    }
    const runners = new Map<Line, LineRunner>();
    const runs: Runs = new Map();
    const events = new JobEvents(host);
    const losses = new BacklogLosses(host, events);
    let current = config;
    const broker: Broker = await openBroker(host, config, file, {
      ready: (line) => runners.get(line)?.pump(),
      missing(line, functionId, namespace) {
        if (!host.registry.hasFunction(functionId, namespace)) return { functionId, namespace };
        const condition = runners.get(line)?.policy?.conditionFunctionId;
        if (condition === undefined || host.registry.hasFunction(condition, namespace)) return undefined;
        return { functionId: condition, namespace };
      },
      expired: (line, count) => losses.add(line, count),
      topicRules: (topic) => topicRules(current, topic),
    });
    const runnerOf = (line: Line): LineRunner => {
      let runner = runners.get(line);
      if (runner === undefined) runners.set(line, (runner = new LineRunner(host, broker, line, runs, events)));
      return runner;
    };
    const queues = new Queues(host, broker, runnerOf);
    const topics = new Topics(host, broker, runnerOf);
    const health = host.reportHealth(() => brokerReport(broker));
    const listening = host.registry.onFunction(({ available, functionId, namespace }) => {
      broker.functionChanged(functionId, namespace, available);
    });
    const deadLetters = new DeadLetters(broker, queues, topics);
    const redrives = new Redrives(host, deadLetters);
    const drain = (): void => {
      redrives.stop();
      for (const runner of runners.values()) runner.drain();
      broker.drain();
    };
    const stop = async (): Promise<void> => {
      drain();
      listening.remove();
      health.remove();
      topics.stop();
      await broker.stop();
      losses.stop();
    };
    try {
      await topics.start();
      await queues.configure(namedQueues(config));
    } catch (error) {
      await stop();
      throw error;
    }
    for (const definition of queueFunctions({
      host,
      broker,
      queues,
      topics,
      deadLetters,
      redrives,
      runs,
    })) {
      host.registerFunction(definition);
    }
    host.registerTriggerType(durableSubscriber(topics));
    host.registerTriggerType(queueEvents(events));

    return {
      async reconfigure(changed) {
        const next = changed as QueueWorkerConfig;
        if (queueFile(next, host.projectDir) !== file || !isDeepStrictEqual(next?.adapter, current?.adapter)) {
          throw new Error(
            'adapter: where jobs are stored changes only with a restart of the engine; the previous setting stays',
          );
        }
        await queues.configure(namedQueues(next));
        current = next;
      },
      drain,
      isIdle: () => [...runners.values()].every((runner) => runner.isIdle),
      stop,
    };
  },
});
