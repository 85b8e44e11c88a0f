import { distance } from 'fastest-levenshtein';

/** Furthest that a suggestion may be from what was typed, as a share of its length. */
const MAX_DISTANCE_SHARE = 0.5;

/** The known word that was probably meant, or undefined when none is near. */
export function nearest(typed: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Infinity;
  for (const word of known) {
    const d = distance(typed.toLowerCase(), word.toLowerCase());
    if (d < bestDistance) [best, bestDistance] = [word, d];
  }
  return best !== undefined && bestDistance <= Math.max(1, Math.floor(best.length * MAX_DISTANCE_SHARE))
    ? best
    : undefined;
}
