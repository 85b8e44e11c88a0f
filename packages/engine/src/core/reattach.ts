/**
 * A client comes back on another connection and names the one it had, with its token. What the old
 * session ran and waited for moves to the new one, and its channels with it; results that the client
 * may not have received are sent again. Its functions and triggers come from the client's own replay:
 * the old session stays detached, so that routes live on meanwhile, and ends when the new one has
 * described itself.
 *
 * Moved: calls that the client has certainly received. Ended with `invocation_stopped`: those it may
 * or may not have, see `Confirmations`.
 */
import type { ReattachFrame } from '@trine/protocol';
import type { Core } from './core.js';
import { secretsEqual } from './secret-equal.js';
import type { Session } from './session.js';

export type ReattachOutcome =
  { readonly kind: 'moved'; readonly previous: Session } | { readonly kind: 'ignored'; readonly reason: string };

export function reattach(core: Core, session: Session, frame: ReattachFrame): ReattachOutcome {
  const previous = core.session(frame.previousWorkerId);
  if (previous === session) return ignored('it names its own connection');
  if (previous?.reattachToken === undefined) return ignored('the connection that it names has ended');
  if (previous.access?.rules !== session.access?.rules) return ignored('it was made to another listener');
  if (!secretsEqual(frame.reattachToken ?? '', previous.reattachToken)) {
    return ignored('its token is not that of the connection that it names');
  }
  // Still open here: a half-open socket, of which the client knows and the engine does not.
  previous.cut('its client has reattached on another connection');
  core.router.move(previous, session);
  core.channels.move(previous, session);
  return { kind: 'moved', previous };
}

function ignored(reason: string): ReattachOutcome {
  return { kind: 'ignored', reason };
}
