/**
 * State that another engine keeps: every operation is a call of its `state::*` functions, with the
 * context of the caller. Over the wire null and no value are one for `old_value`, so a key whose value
 * was null reads as new.
 */
import { memberText, Payload, TrineError } from '@trine/protocol';
import type { WorkerHost } from '../../../core/worker-host.js';
import { RemoteEngine, type RemoteContext } from '../../../remote/index.js';
import { updateOpsText, type UpdateOp, type UpdateOpError } from '../../../values/index.js';
import type { UpdateAnswer } from '../store.js';
import type { StateAdapter } from './index.js';

/** @param url - the other engine's worker port; it may come later */
export function openBridge(host: WorkerHost, url: string): StateAdapter {
  const { clock, random, log } = host;
  const remote = new RemoteEngine({ url, name: 'iii-state-bridge', clock, random, log });
  remote.open();
  return new BridgeAdapter(remote);
}

class BridgeAdapter implements StateAdapter {
  readonly #remote: RemoteEngine;

  constructor(remote: RemoteEngine) {
    this.#remote = remote;
  }

  get(scope: string, key: string, context: RemoteContext): Promise<string | undefined> {
    return this.#call('state::get', address(scope, key), context);
  }

  async set(scope: string, key: string, value: string, context: RemoteContext): Promise<string | undefined> {
    const answer = await this.#call('state::set', { ...address(scope, key), value }, context);
    return notNull(member('state::set', answer, 'old_value'));
  }

  async delete(scope: string, key: string, context: RemoteContext): Promise<string | undefined> {
    return this.#call('state::delete', address(scope, key), context);
  }

  async update(
    scope: string,
    key: string,
    ops: readonly UpdateOp[],
    // The limit of the engine that keeps the value counts: only it knows the result.
    _maxBytes: number | undefined,
    context: RemoteContext,
  ): Promise<UpdateAnswer> {
    const answer = await this.#call('state::update', { ...address(scope, key), ops: updateOpsText(ops) }, context);
    const errors = answer === undefined ? undefined : notNull(memberText(answer, 'errors'));
    return {
      old: notNull(member('state::update', answer, 'old_value')),
      value: member('state::update', answer, 'new_value') ?? 'null',
      errors: errors === undefined ? [] : (JSON.parse(errors) as UpdateOpError[]),
    };
  }

  async list(scope: string, context: RemoteContext): Promise<string> {
    return (await this.#call('state::list', { scope: JSON.stringify(scope) }, context)) ?? '[]';
  }

  async listScopes(context: RemoteContext): Promise<string[]> {
    const answer = await this.#call('state::list_groups', {}, context);
    const groups = member('state::list_groups', answer, 'groups');
    return groups === undefined ? [] : (JSON.parse(groups) as string[]);
  }

  async close(): Promise<void> {
    this.#remote.close();
  }

  /** @returns the raw text of the result; undefined = none */
  async #call(
    functionId: string,
    members: Readonly<Record<string, string>>,
    context: RemoteContext,
  ): Promise<string | undefined> {
    const { traceparent, baggage, metadata } = context;
    const outcome = await this.#remote.invoke({
      functionId,
      payload: Payload.fromMembers(members),
      context: { traceparent, baggage, metadata },
    });
    if (!outcome.ok) throw new TrineError(outcome.error.code, outcome.error.message);
    return outcome.result?.json;
  }
}

function address(scope: string, key: string): { scope: string; key: string } {
  return { scope: JSON.stringify(scope), key: JSON.stringify(key) };
}

function member(functionId: string, answer: string | undefined, name: string): string | undefined {
  if (answer === undefined || !answer.startsWith('{'))
    throw new Error(`${functionId} of the other engine answered with something else than an object`);
  return memberText(answer, name);
}

function notNull(text: string | undefined): string | undefined {
  return text === 'null' ? undefined : text;
}
