import { TrineError } from '@trine/protocol';

/** The codes that `publish` answers with. */
export const PubsubCode = {
  topicNotSet: 'topic_not_set',
  /** Too many deliveries are under way; the message went to nobody. The same publish may succeed later. */
  overloaded: 'publish_overloaded',
  /** The server that carries messages could not be asked, or did not answer. */
  failed: 'publish_failed',
} as const;

export function topicNotSet(): TrineError {
  return new TrineError(PubsubCode.topicNotSet, 'Topic is not set');
}

export function overloaded(topic: string, deliveries: number): TrineError {
  const message = `${deliveries} deliveries wait for subscribers, which is the limit: nothing was sent to topic '${topic}', publish again later`;
  return new TrineError(PubsubCode.overloaded, message, { retryable: true });
}

export function publishFailed(topic: string, why: string, cause?: unknown): TrineError {
  return new TrineError(PubsubCode.failed, `the message to topic '${topic}' was not sent: ${why}`, {
    cause,
    retryable: true,
  });
}
