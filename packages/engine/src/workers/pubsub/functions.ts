import { z } from 'zod';
import { RawInput } from '../../core/raw-input.js';
import type { FunctionDefinition } from '../../core/worker-host.js';
import type { PubsubAdapter } from './adapters/index.js';
import { topicNotSet } from './errors.js';

/** @param adapter - the one of this moment */
export function publishFunction(adapter: () => PubsubAdapter): FunctionDefinition {
  return {
    id: 'publish',
    description: 'Publish an event to every current subscriber of a topic',
    raw: true,
    request: z.object({ topic: z.string(), data: z.unknown().describe('What subscribers receive, as it is.') }),
    handler(_input, { payload, traceparent, baggage }) {
      const input = new RawInput('publish', payload);
      const topic = input.string('topic');
      const data = input.requiredText('data');
      if (topic === '') throw topicNotSet();
      const sent = adapter().publish({ topic, data, traceparent, baggage });
      return sent?.then(() => undefined);
    },
  };
}
