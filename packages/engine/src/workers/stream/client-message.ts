import { z } from 'zod';

const clientMessage = z.object({
  type: z.enum(['join', 'leave']),
  data: z.object({
    subscriptionId: z.string(),
    streamName: z.string(),
    groupId: z.string(),
    id: z.string().nullish(),
  }),
});

export interface ClientMessage {
  readonly type: 'join' | 'leave';
  readonly subscriptionId: string;
  readonly stream: string;
  readonly group: string;
  readonly item: string | undefined;
}

/** What a client says, or why it cannot be understood. */
export function readClientMessage(text: string): ClientMessage | { readonly fault: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { fault: 'not JSON' };
  }
  const parsed = clientMessage.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return { fault: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is not valid'}` };
  }
  const { type, data } = parsed.data;
  return {
    type,
    subscriptionId: data.subscriptionId,
    stream: data.streamName,
    group: data.groupId,
    item: data.id ?? undefined,
  };
}
