/** What all loads of a kill run share: which engine serves now, and whether new work may be made. */
export interface Timeline {
  /** Counts the engines that have served, from 1. */
  incarnation: number;
  /** False while the run drains: loads finish what they have and make nothing new. */
  producing: boolean;
}

/** What deliveries of the engine that serves now hang on, see `Lease.holder`. */
export function engineOf({ incarnation }: Timeline): string {
  return `engine ${incarnation}`;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
