/**
 * A certificate and its key, from files that may change: whoever renews them writes new ones, and
 * connections made from then on get them. A pair that cannot be used is told once and not taken.
 *
 * The files are looked at again and again instead of being watched: renewals swap links, folders and
 * mounts, which no watch sees alike everywhere. Certificate and key change one after the other, so a
 * pair counts as bad only when it is still the same at the next look.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { TrineError } from '@trine/protocol';
import { z } from 'zod';
import type { Clock, Timer } from '../core/clock.js';
import type { Log } from '../core/log.js';
import { ListenerCode } from './errors.js';

/** How often the files are looked at, in milliseconds. */
const LOOK_EVERY_MS = 2_000;

export const tlsConfig = z.strictObject({
  cert: z.string().min(1).describe('PEM file of the certificate with its chain, relative to the project folder'),
  key: z.string().min(1).describe('PEM file of its private key'),
});

export type TlsSettings = z.output<typeof tlsConfig>;

export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

export interface TlsFilesOptions {
  readonly settings: TlsSettings;
  /** Relative paths start here. */
  readonly projectDir: string;
  /** The entry in config.yaml, for errors and logs. */
  readonly who: string;
  readonly clock: Clock;
  readonly log: Log;
}

export class TlsFiles {
  readonly #options: TlsFilesOptions;
  readonly #onChange = new Set<(pair: KeyPair) => void>();
  #pair: KeyPair;
  /** What was read last: the pair in use, or one that was not taken. */
  #seen: string;
  #told = '';
  #timer: Timer | undefined;
  #stopped = false;

  private constructor(options: TlsFilesOptions, pair: KeyPair) {
    this.#options = options;
    this.#pair = pair;
    this.#seen = textOf(pair);
  }

  /** @throws TrineError `tls_unusable` naming the file and what is wrong with it */
  static async open(options: TlsFilesOptions): Promise<TlsFiles> {
    const pair = await readPair(options);
    const files = new TlsFiles(options, pair);
    files.#arm();
    return files;
  }

  get pair(): KeyPair {
    return this.#pair;
  }

  /** Tells of every new pair, until the returned function is called. */
  onChange(listener: (pair: KeyPair) => void): () => void {
    this.#onChange.add(listener);
    return () => void this.#onChange.delete(listener);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#onChange.clear();
  }

  #arm(): void {
    if (this.#stopped) return;
    this.#timer = this.#options.clock.setTimer(() => void this.#look().finally(() => this.#arm()), LOOK_EVERY_MS);
  }

  async #look(): Promise<void> {
    const { who, log } = this.#options;
    let text: string;
    let fault: string | undefined;
    let pair: KeyPair | undefined;
    try {
      pair = await readFiles(this.#options);
      text = textOf(pair);
      if (text === textOf(this.#pair)) {
        this.#seen = text;
        return;
      }
      check(pair, this.#options);
    } catch (error) {
      fault = (error as Error).message;
      text = `${pair === undefined ? '' : textOf(pair)}\0${fault}`;
    }
    if (this.#stopped) return;
    if (fault === undefined && pair !== undefined) {
      this.#pair = pair;
      this.#seen = text;
      for (const listener of this.#onChange) listener(pair);
      log.info('certificate renewed', { worker: who });
      return;
    }
    const isSettled = text === this.#seen;
    this.#seen = text;
    if (!isSettled || text === this.#told) return;
    this.#told = text;
    log.error('certificate not renewed: the one before stays in use', { worker: who, error: fault });
  }
}

async function readPair(options: TlsFilesOptions): Promise<KeyPair> {
  const pair = await readFiles(options);
  check(pair, options);
  return pair;
}

async function readFiles(options: TlsFilesOptions): Promise<KeyPair> {
  const read = async (name: 'cert' | 'key'): Promise<string> => {
    const path = resolve(options.projectDir, options.settings[name]);
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      throw unusable(options, `${name} file ${path} cannot be read: ${(error as Error).message}`, error);
    }
  };
  return { cert: await read('cert'), key: await read('key') };
}

function check(pair: KeyPair, options: TlsFilesOptions): void {
  try {
    const key = createPrivateKey(pair.key);
    if (!new X509Certificate(pair.cert).checkPrivateKey(key)) throw new Error('the key belongs to another certificate');
    createSecureContext({ cert: pair.cert, key: pair.key });
  } catch (error) {
    const { cert, key } = options.settings;
    throw unusable(options, `${cert} and ${key} are no certificate and its key: ${(error as Error).message}`, error);
  }
}

function unusable({ who }: TlsFilesOptions, message: string, cause: unknown): TrineError {
  return new TrineError(ListenerCode.tlsUnusable, `${message} (worker ${who}, tls)`, { cause });
}

function textOf(pair: KeyPair): string {
  return `${pair.cert}\0${pair.key}`;
}
