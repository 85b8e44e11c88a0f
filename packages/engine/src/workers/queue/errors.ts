import { ErrorCode, toErrorBody, TrineError } from '@trine/protocol';

/** The codes that the queue's functions answer with, beside `enqueue_error`, `FORBIDDEN` and `deserialization_error`. */
export const QueueCode = {
  topicNotSet: 'topic_not_set',
  /** The held messages of a topic without subscribers have reached their bound. */
  topicBacklogFull: 'topic_backlog_full',
  /** A message could not be stored; it was not accepted. */
  publishFailed: 'publish_failed',
  queueNotSet: 'queue_not_set',
  messageIdNotSet: 'message_id_not_set',
  topicRequired: 'topic_required',
  redriveFailed: 'redrive_failed',
  redriveMessageFailed: 'redrive_message_failed',
  discardMessageFailed: 'discard_message_failed',
  listTopicsFailed: 'list_topics_failed',
  topicStatsFailed: 'topic_stats_failed',
  dlqTopicsFailed: 'dlq_topics_failed',
  dlqMessagesFailed: 'dlq_messages_failed',
  unsubscribeFailed: 'unsubscribe_failed',
  /** The adapter that keeps the jobs cannot do this; the message names those that can. */
  notSupportedByAdapter: 'not_supported_by_adapter',
  /** Messages since that time are not kept; the message names the earliest time. */
  replayNotRetained: 'replay_not_retained',
  replayFailed: 'replay_failed',
  /** As many jobs wait in the queue as it may hold. */
  queueFull: 'queue_full',
  queueNotFound: 'queue_not_found',
  subscriptionNotFound: 'subscription_not_found',
  /** The receipt's job does not run, or another worker runs it. */
  jobNotRunning: 'job_not_running',
  jobFailed: 'job_failed',
  cancelFailed: 'cancel_failed',
  pauseFailed: 'pause_failed',
  purgeFailed: 'purge_failed',
  peekFailed: 'peek_failed',
  editMessageFailed: 'edit_message_failed',
} as const;

export function enqueueError(message: string, cause?: unknown): TrineError {
  return new TrineError(ErrorCode.enqueue, message, { cause });
}

/** A batch is one transaction. */
export function mixedBatch(): TrineError {
  return enqueueError(
    'a batch is stored as a whole or not at all: its queues must not be some on disk and some in memory (`durability: memory`)',
  );
}

/** @param max - jobs that may wait in it */
export function queueFull(queue: string, max: number): TrineError {
  const message = `Queue '${queue}' is full: ${max} jobs wait, which is its max_waiting. Try again when some have run`;
  return new TrineError(QueueCode.queueFull, message, { retryable: true });
}

export function isQueueFull(error: unknown): boolean {
  return error instanceof TrineError && error.code === QueueCode.queueFull;
}

/** @param nearest - a known queue that may have been meant */
export function queueNotFound(queue: string, nearest: string | undefined): TrineError {
  return enqueueError(`Queue '${queue}' not found${nearest === undefined ? '' : `. Did you mean '${nearest}'?`}`);
}

export function groupMissing(queue: string, field: string): TrineError {
  return enqueueError(`FIFO queue '${queue}' requires field '${field}' in data, but it was not found`);
}

export function groupNull(queue: string, field: string): TrineError {
  return enqueueError(`FIFO queue '${queue}': field '${field}' must not be null`);
}

/** Order rules in a fifo queue. */
export function fifoRefuses(queue: string, field: string): TrineError {
  return enqueueError(
    `FIFO queue '${queue}' refuses '${field}': its jobs run in the order in which they were accepted`,
  );
}

export function noGroups(queue: string): TrineError {
  return enqueueError(`Queue '${queue}' has no groups: 'group' is for queues of type 'fifo'`);
}

export function forbidden(functionId: string): TrineError {
  return new TrineError(ErrorCode.forbidden, `function '${functionId}' not allowed (add to rbac.expose_functions)`);
}

export function topicNotSet(): TrineError {
  return new TrineError(QueueCode.topicNotSet, 'Topic is not set');
}

export function topicBacklogFull(topic: string, held: string): TrineError {
  const message = `topic '${topic}' has no subscriber and holds ${held}, which is the limit: start a subscriber, then publish again`;
  return new TrineError(QueueCode.topicBacklogFull, message, { retryable: true });
}

/** Neither a queue nor a topic has this name. */
export function nameNotFound(name: string): TrineError {
  return new TrineError(
    QueueCode.queueNotFound,
    `there is no queue or topic '${name}': engine::queue::list_topics lists them`,
  );
}

export function subscriptionNotFound(topic: string, functionId: string): TrineError {
  return new TrineError(
    QueueCode.subscriptionNotFound,
    `${functionId} has no subscription to topic '${topic}': engine::queue::subscriptions lists them`,
  );
}

export function jobNotRunning(receipt: string): TrineError {
  return new TrineError(
    QueueCode.jobNotRunning,
    `job '${receipt}' does not run: it has ended, timed out or was given to another worker`,
  );
}

/** @param earliest - wall clock, milliseconds; undefined when nothing is kept at all */
export function replayNotRetained(topic: string, earliest: number | undefined): TrineError {
  const message =
    earliest === undefined
      ? `topic '${topic}' keeps no delivered messages: set replay_retention_ms of the queue worker (or of the topic in topic_configs)`
      : `topic '${topic}' keeps messages since ${new Date(earliest).toISOString()} (since_ms ${earliest}): ask for that time or a later one`;
  return new TrineError(QueueCode.replayNotRetained, message);
}

/** A failure of the store, under the code and words of the function that met it. */
export function storeFailure(
  code: (typeof QueueCode)[keyof typeof QueueCode],
  what: string,
  cause: unknown,
): TrineError {
  return new TrineError(code, `${what}: ${toErrorBody(cause).message}`, { cause });
}
