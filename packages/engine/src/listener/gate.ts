/**
 * The door of a listener with access rules. A socket waits, unread, for the auth function:
 *
 *   `waiting` -> `admitted`   its session begins, with what the auth function granted
 *             -> `refused`    an `error` frame, then Close 1008
 *             -> gone         it was closed meanwhile
 */
import type { IncomingMessage } from 'node:http';
import type { WebSocket } from 'ws';
import { AccessHooks, type Invoke } from '../core/access-hook.js';
import type { AccessRules } from '../core/access-rules.js';
import type { Core } from '../core/core.js';
import { SessionAccess } from '../core/session-access.js';
import { authenticate, AUTH_ERROR } from './authenticate.js';

/** The Close code of a connection that may not be: trying again will not help. */
const CLOSE_REFUSED = 1008;
/** How long a refused client may take to close, in milliseconds. */
const REFUSED_GRACE_MS = 5_000;

export class Gate {
  readonly rules: AccessRules;
  readonly #core: Core;
  readonly #hooks: AccessHooks;

  /** @param invoke - calls auth function and hooks, in the name of the listener */
  constructor(core: Core, rules: AccessRules, invoke: Invoke) {
    this.#core = core;
    this.rules = rules;
    this.#hooks = new AccessHooks(invoke, core.registry);
    core.accessRules.add(rules);
  }

  /** @param enter - begins the session; not called for who is refused */
  async admit(ws: WebSocket, request: IncomingMessage, enter: (access: SessionAccess) => void): Promise<void> {
    // Frames wait in the socket: they belong to a session that does not exist yet.
    ws.pause();
    const answer = await authenticate(this.#hooks, this.rules, request);
    if (ws.readyState !== ws.OPEN) return;
    if (answer.ok) enter(new SessionAccess(this.#core, this.#hooks, this.rules, answer.grant));
    else this.#refuse(ws, request, answer.reason);
    ws.resume();
  }

  close(): void {
    this.#core.accessRules.delete(this.rules);
  }

  #refuse(ws: WebSocket, request: IncomingMessage, reason: string): void {
    this.#core.log.for('iii::access').warn('connection refused', {
      listener: this.rules.who,
      ip_address: request.socket.remoteAddress,
      path: request.url?.split('?')[0],
      reason,
    });
    ws.send(JSON.stringify({ type: 'error', error: { code: AUTH_ERROR, message: reason } }));
    ws.close(CLOSE_REFUSED, AUTH_ERROR);
    const timer = this.#core.clock.setTimer(() => ws.terminate(), REFUSED_GRACE_MS);
    ws.once('close', () => timer.cancel());
  }
}
