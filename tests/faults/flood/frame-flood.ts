/**
 * A process of its own that sends malformed frames as fast as an engine takes them:
 * `node --import tsx frame-flood.ts PORT FRAMES SEED`. It prints one line of JSON, a `FloodReport`.
 *
 * Frames are laid out once, masked with zeros (which changes nothing), and sent many per write. Each
 * round is a connection of its own, so that what a round registered goes with it; the frames of a round
 * are sent again, under new ids, by the rounds after it.
 */
import { randomUUID } from 'node:crypto';
import { SeededRandom } from '../../support/seeded-random.js';
import { FrameMaker } from '../frame-maker.js';
import { RawSocket } from './raw-socket.js';

export interface FloodReport {
  readonly frames: number;
  readonly bytes: number;
  /** Calls that had to be answered, and how many were not, or more than once. */
  readonly calls: number;
  readonly unanswered: number;
  readonly doubled: number;
  /** Frames that should have been answered and were not, for a look. */
  readonly samples: readonly string[];
  /** What ended a connection that should have lived. */
  readonly closes: readonly string[];
}

const ROUND_FRAMES = 10_000;
/** Rounds that send the same frames. */
const ROUNDS_PER_CORPUS = 4;
const WRITE_BYTES = 1024 * 1024;
const ANSWER_DEADLINE_MS = 120_000;

const ID_PREFIX = 'aaaaaaaa-0000-4000-8000-';
const ID_DIGITS = 12;
const MAX_SAMPLES = 5;

interface Corpus {
  readonly bytes: Buffer;
  /** Where frames start that the write may end before. */
  readonly starts: readonly number[];
  /** Where the number of each id that must be answered stands. */
  readonly ids: readonly number[];
}

function makeCorpus(maker: FrameMaker): Corpus {
  const parts: Buffer[] = [];
  const starts: number[] = [];
  const ids: number[] = [];
  let at = 0;
  for (let i = 0; i < ROUND_FRAMES; i++) {
    const { bytes, answerTo } = maker.next();
    const payload = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    const frame = RawSocket.frame(payload, typeof bytes === 'string' ? 'text' : 'binary');
    if (answerTo !== undefined) {
      // Only the id of the frame itself is whole and behind its name.
      const where = frame.indexOf(`"invocation_id":"${answerTo}"`) + '"invocation_id":"'.length;
      frame.write(ID_PREFIX, where);
      ids.push(at + where + ID_PREFIX.length);
    }
    starts.push(at);
    parts.push(frame);
    at += frame.length;
  }
  return { bytes: Buffer.concat(parts), starts, ids };
}

const [port, frames, seed] = process.argv.slice(2).map(Number) as [number, number, number];
const maker = new FrameMaker(new SeededRandom(seed));
const samples: string[] = [];
const closes: string[] = [];
let [sent, sentBytes, calls, unanswered, doubled] = [0, 0, 0, 0, 0];
let corpus = makeCorpus(maker);

for (let round = 0; sent < frames; round++) {
  if (round > 0 && round % ROUNDS_PER_CORPUS === 0) corpus = makeCorpus(maker);
  await flood(corpus);
}
const report: FloodReport = { frames: sent, bytes: sentBytes, calls, unanswered, doubled, samples, closes };
process.stdout.write(`${JSON.stringify(report)}\n`);

/** One round: sends a corpus on a connection and waits for every answer. */
async function flood({ bytes, starts, ids }: Corpus): Promise<void> {
  const answers = new Uint8Array(ids.length);
  const last = randomUUID();
  let left = ids.length;
  let isOver = false;
  let wake = (): void => undefined;
  const socket = await RawSocket.open(port, (text) => {
    const name = text.indexOf('"invocation_id":"');
    const id = text.slice(name + 17, name + 53);
    if (text.startsWith('{"type":"invokefunction"')) {
      // Some registrations hold, under odd names: it serves what it has registered.
      socket.send(JSON.stringify({ type: 'invocationresult', invocation_id: id, function_id: 'x', result: null }));
    } else if (id === last) {
      isOver = true;
    } else if (id.startsWith(ID_PREFIX)) {
      const at = Number.parseInt(id.slice(ID_PREFIX.length), 16);
      const count = (answers[at] ?? 0) + 1;
      answers[at] = count;
      if (count === 1) left--;
      else if (count === 2) doubled++;
    }
    if (isOver && left === 0) wake();
  });
  socket.onClose = (reason) => {
    closes.push(reason);
    wake();
  };
  ids.forEach((where, at) => void bytes.write(at.toString(16).padStart(ID_DIGITS, '0'), where));
  for (let from = 0, next = 0; from < bytes.length;) {
    while (next < starts.length && (starts[next] as number) - from < WRITE_BYTES) next++;
    const to = next < starts.length ? (starts[next] as number) : bytes.length;
    await socket.write(bytes.subarray(from, to));
    from = to;
  }
  const answered = new Promise<void>((resolve) => {
    wake = resolve;
    setTimeout(resolve, ANSWER_DEADLINE_MS).unref();
  });
  socket.send(
    JSON.stringify({ type: 'invokefunction', invocation_id: last, function_id: 'victim::echo', data: { last } }),
  );
  if (closes.length === 0) await answered;
  sent += starts.length;
  sentBytes += bytes.length;
  calls += ids.length;
  unanswered += left + (isOver ? 0 : 1);
  for (const [at, count] of answers.entries()) {
    if (count !== 0 || samples.length >= MAX_SAMPLES) continue;
    const start = starts.findLast((each) => each < (ids[at] as number)) as number;
    samples.push(bytes.subarray(start, start + 500).toString());
  }
  socket.onClose = () => undefined;
  socket.drop();
}
