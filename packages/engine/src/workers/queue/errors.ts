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
} as const;

export function enqueueError(message: string, cause?: unknown): TrineError {
  return new TrineError(ErrorCode.enqueue, message, { cause });
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

/** A failure of the store, under the code and words of the function that met it. */
export function storeFailure(
  code: (typeof QueueCode)[keyof typeof QueueCode],
  what: string,
  cause: unknown,
): TrineError {
  return new TrineError(code, `${what}: ${toErrorBody(cause).message}`, { cause });
}
