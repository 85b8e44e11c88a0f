/** The function ids that the queue serves. */
import type { FunctionDefinition } from '../../core/worker-host.js';
import { deadLetterFunctions } from './dead-letter-functions.js';
import { enqueueFunctions } from './enqueue-functions.js';
import type { QueueParts } from './function-input.js';
import { handlerFunctions } from './handler-functions.js';
import { inspectionFunctions } from './inspection-functions.js';
import { jobFunctions } from './job-functions.js';
import { topicFunctions } from './topic-functions.js';

export function queueFunctions(parts: QueueParts): FunctionDefinition[] {
  return [
    ...enqueueFunctions(parts),
    ...topicFunctions(parts),
    ...deadLetterFunctions(parts),
    ...inspectionFunctions(parts),
    ...jobFunctions(parts),
    ...handlerFunctions(parts),
  ];
}
