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

/** A JSON array of records, of at least `bytes` bytes: what applications send when they send much. */
export function randomRecords(random: () => number, bytes: number): string {
  const records: string[] = [];
  for (let length = 0; length < bytes;) {
    const record = JSON.stringify({
      id: records.length,
      name: randomText(random, 12),
      price: Math.round(random() * 100_000) / 100,
      active: random() < 0.5,
      tags: [randomText(random, 4), randomText(random, 6)],
      owner: { id: randomText(random, 8), email: `${randomText(random, 6)}@example.com` },
    });
    records.push(record);
    length += record.length + 1;
  }
  return `[${records.join(',')}]`;
}
