import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RawWorker, tempFolder, waitFor } from '@trine/testing';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { EngineProcess, freePort } from '../support/engine-process.js';
import { FastSocket } from '../support/fast-socket.js';

const CALLERS = 2;
const CALLS_PER_CALLER = 500_000;
const IN_FLIGHT_PER_CALLER = 128;
/** Every call whose number this divides is answered with an error by its handler. */
const FAILS_EVERY = 997;
const ID_PREFIX = '00000000-0000-4000-8000-';
const INVOCATION_ID = '"invocation_id":"';
const DATA = '"data":{"from":';

test(
  'core - a million calls at 256 in flight are each answered once, to the one who asked, with its own answer',
  { timeout: 120_000 },
  async () => {
    const folder = await tempFolder();
    const port = await freePort();
    await writeFile(
      join(folder.path, 'config.yaml'),
      stringify({
        workers: [
          { name: 'iii-worker-manager', config: { port } },
          { name: 'iii-observability', config: { level: 'warn' } },
        ],
      }),
    );
    const engine = await EngineProcess.start({ cwd: folder.path, port });
    const sockets: FastSocket[] = [];
    try {
      const url = `ws://127.0.0.1:${port}`;
      const probe = await RawWorker.connect(url);
      const served = new Uint8Array(CALLERS * CALLS_PER_CALLER);
      sockets.push(await serveEcho(url, served));
      await waitFor(async () => (await probe.ask('million::echo', { from: 0, n: -1 }))['error'] === undefined, {
        what: 'the worker to serve',
      });
      const callers = Array.from({ length: CALLERS }, (_, from) => new Caller(from));
      await Promise.all(callers.map((caller) => caller.run(url, sockets)));
      // An answer that came twice would be on its way behind the last one: this call flushes it out.
      for (const caller of callers) await caller.flush();
      expect(callers.flatMap(({ faults }) => faults)).toEqual([]);
      expect(callers.map(({ answers }) => answers.every((times) => times === 1))).toEqual([true, true]);
      expect(served.every((times) => times === 1)).toBe(true);
      await probe.close();
    } finally {
      for (const socket of sockets) socket.drop();
      await engine.kill();
      await folder.remove();
    }
  },
);

/** Text work, no JSON: the clients must not be what is slow. */
async function serveEcho(url: string, served: Uint8Array): Promise<FastSocket> {
  const socket: FastSocket = await FastSocket.open(url, (text) => {
    if (!text.startsWith('{"type":"invokefunction"')) return;
    const id = textAfter(text, INVOCATION_ID, '"');
    const from = Number(textAfter(text, DATA, ','));
    const n = Number(textAfter(text, '"n":', text.includes(',"_caller') ? ',' : '}'));
    if (n >= 0) served[from * CALLS_PER_CALLER + n] = (served[from * CALLS_PER_CALLER + n] as number) + 1;
    const end =
      n >= 0 && n % FAILS_EVERY === 0
        ? `"error":{"code":"on_purpose","message":"${from}:${n}"}`
        : `"result":{"answer":"${from}:${n}"}`;
    socket.send(`{"type":"invocationresult","invocation_id":"${id}","function_id":"million::echo",${end}}`);
  });
  socket.send('{"type":"registerfunction","id":"million::echo"}');
  return socket;
}

/** Both callers use the same invocation ids: what tells their answers apart is the engine. */
class Caller {
  readonly answers = new Uint8Array(CALLS_PER_CALLER);
  readonly faults: string[] = [];
  readonly #from: number;
  #socket: FastSocket | undefined;
  #sent = 0;
  #answered = 0;
  #done: () => void = () => undefined;
  #flushed: () => void = () => undefined;

  constructor(from: number) {
    this.#from = from;
  }

  async run(url: string, sockets: FastSocket[]): Promise<void> {
    const done = new Promise<void>((resolve) => (this.#done = resolve));
    this.#socket = await FastSocket.open(url, (text) => this.#receive(text));
    sockets.push(this.#socket);
    for (let i = 0; i < IN_FLIGHT_PER_CALLER; i++) this.#call();
    await done;
  }

  flush(): Promise<void> {
    return new Promise((resolve) => {
      this.#flushed = resolve;
      this.#send(CALLS_PER_CALLER, -1);
    });
  }

  #call(): void {
    this.#send(this.#sent, this.#sent);
    this.#sent++;
  }

  #send(sequence: number, n: number): void {
    const id = ID_PREFIX + sequence.toString(16).padStart(12, '0');
    this.#socket?.send(
      `{"type":"invokefunction","invocation_id":"${id}","function_id":"million::echo",${DATA}${this.#from},"n":${n}}}`,
    );
  }

  #receive(text: string): void {
    if (!text.startsWith('{"type":"invocationresult"')) return;
    const sequence = Number.parseInt(textAfter(text, INVOCATION_ID, '"').slice(ID_PREFIX.length), 16);
    if (sequence === CALLS_PER_CALLER) return this.#flushed();
    const expected = `${this.#from}:${sequence}`;
    const answer =
      sequence % FAILS_EVERY === 0
        ? `"code":"on_purpose","message":"${expected}"`
        : `"result":{"answer":"${expected}"}`;
    if (!text.includes(answer) && this.faults.length < 5) this.faults.push(`expected ${answer} in ${text}`);
    this.answers[sequence] = (this.answers[sequence] as number) + 1;
    this.#answered++;
    if (this.#sent < CALLS_PER_CALLER) this.#call();
    else if (this.#answered >= CALLS_PER_CALLER) this.#done();
  }
}

function textAfter(text: string, mark: string, end: string): string {
  const start = text.indexOf(mark) + mark.length;
  return text.slice(start, text.indexOf(end, start));
}
