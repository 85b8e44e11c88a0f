/** What all loads of a kill run share: which engine serves now, and whether new work may be made. */
export interface Timeline {
  /** Counts the engines that have served, from 1. */
  incarnation: number;
  /** False while the run drains: loads finish what they have and make nothing new. */
  producing: boolean;
}

/** Adds a fault, unless there are many already: one cause usually makes thousands. */
export function tell(faults: string[], fault: string): void {
  if (faults.length < 20) faults.push(fault);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
