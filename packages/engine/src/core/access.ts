/**
 * Who may call what: the one decision that every entry point asks, a call and an enqueue as much as
 * a trigger's target, a list of functions or a handler that acts on an id from a payload. Sessions
 * without access rules on their listener, and those inside this process, may call everything.
 */
import { DEFAULT_NAMESPACE, ErrorCode, type ErrorBody } from '@trine/protocol';
import type { Registry } from './registry.js';
import type { Session } from './session.js';

export type AccessDecision = (session: Session, functionId: string, namespace: string) => boolean;

/** `forbidden`: by the auth function's list. `not_exposed`: nothing allows it. */
export type Verdict = 'allowed' | 'forbidden' | 'not_exposed';

/** What every client needs, whatever the rules; a list of forbidden functions still counts. */
const INFRASTRUCTURE: ReadonlySet<string> = new Set([
  'engine::channels::create',
  'engine::workers::register',
  'engine::log::info',
  'engine::log::warn',
  'engine::log::error',
  'engine::log::debug',
  'engine::log::trace',
  'engine::baggage::get',
  'engine::baggage::set',
  'engine::baggage::get_all',
]);

export function judge(registry: Registry, session: Session, functionId: string, asked: string): Verdict {
  const { access } = session;
  if (access === undefined || !access.rules.restricted) return 'allowed';
  const { grant, rules } = access;
  if (grant.forbidden.has(functionId)) return 'forbidden';
  // A built-in that serves another namespace too is judged where it lives.
  const namespace = registry.resolve(asked, functionId)?.namespace ?? asked;
  if (grant.namespaces.get(namespace)?.some((pattern) => pattern.fits(functionId)) === true) return 'allowed';
  if (namespace === DEFAULT_NAMESPACE && (grant.allowed.has(functionId) || INFRASTRUCTURE.has(functionId)))
    return 'allowed';
  const owners = (): readonly unknown[] => registry.owners(namespace, functionId).map(({ metadata }) => metadata);
  return rules.expose.some((filter) => filter.exposes(functionId, namespace, owners)) ? 'allowed' : 'not_exposed';
}

export function accessDecision(registry: Registry): AccessDecision {
  return (session, functionId, namespace) =>
    session.access === undefined || judge(registry, session, functionId, namespace) === 'allowed';
}

/** The error for a call that was not allowed; a function that does not exist gets the same. */
export function notAllowed(registry: Registry, session: Session, functionId: string, namespace: string): ErrorBody {
  const fix =
    judge(registry, session, functionId, namespace) === 'forbidden'
      ? 'remove from rbac.forbidden_functions'
      : 'add to rbac.expose_functions';
  return { code: ErrorCode.forbidden, message: `function '${functionId}' not allowed (${fix})` };
}

/** Errors that leave towards a session behind access rules say nothing of where in the code they came from. */
export function withoutTrace(session: Session, error: ErrorBody): ErrorBody {
  if (error.stacktrace === undefined || session.access?.rules.restricted !== true) return error;
  return { code: error.code, message: error.message };
}
