export { Auditor, type Invariant } from './auditor.js';
export { JobLog, LOSSES_THAT_END, type DeadLetter, type DeliveryFacts, type JobRules, type Lease } from './job-log.js';
export { ValueLog } from './value-log.js';
export { readDeadLetters, waitUntilEmpty } from './queue-state.js';
