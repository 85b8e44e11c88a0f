import type { Session } from './session.js';

/**
 * Who may call what: the one decision that every entry point asks. Without access rules on its
 * listener a session may call everything, and listeners have no rules yet.
 */
export type AccessDecision = (session: Session, functionId: string, namespace: string) => boolean;

export const allowAll: AccessDecision = () => true;
