/** A small seeded generator (mulberry32): two runs with one seed send the same bytes. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';

export function randomText(random: () => number, length: number): string {
  let text = '';
  for (let i = 0; i < length; i++) text += LETTERS[Math.floor(random() * LETTERS.length)] ?? '';
  return text;
}

/** A JSON object of exactly `bytes` bytes. */
export function randomPayload(random: () => number, bytes: number): string {
  const shell = '{"text":""}'.length;
  return `{"text":"${randomText(random, bytes - shell)}"}`;
}
