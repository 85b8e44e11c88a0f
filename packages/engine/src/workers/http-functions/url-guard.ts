/**
 * Decides which addresses may be called. The name of a host is resolved once, every address it has is
 * checked, and exactly these addresses are connected to: a name that answers differently a moment later
 * (DNS rebinding) leads nowhere else.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { toErrorBody } from '@trine/protocol';
import type { SecuritySettings } from './config.js';
import { UrlRefusedError } from './errors.js';
import { isPublicAddress } from './public-address.js';

export interface HostAddress {
  readonly address: string;
  readonly family: number;
}

export type Resolver = (host: string) => Promise<readonly HostAddress[]>;

/** The system's resolver: what /etc/hosts says counts too. */
export const systemResolver: Resolver = (host) => lookup(host, { all: true, verbatim: true });

export interface GuardParts {
  /** Default: the resolver of the system. */
  readonly resolve?: Resolver | undefined;
  /** Default: `isPublicAddress`. */
  readonly isPublic?: ((address: string) => boolean) | undefined;
}

export class UrlGuard {
  readonly #settings: SecuritySettings;
  readonly #resolve: Resolver;
  readonly #isPublic: (address: string) => boolean;
  readonly #patterns: readonly RegExp[];
  /** Lookups under way: the calls of one moment share one, since few of them run at the same time. */
  readonly #lookups = new Map<string, Promise<readonly HostAddress[]>>();

  constructor(settings: SecuritySettings, parts: GuardParts = {}) {
    this.#settings = settings;
    this.#resolve = parts.resolve ?? systemResolver;
    this.#isPublic = parts.isPublic ?? isPublicAddress;
    this.#patterns = (settings.url_allowlist ?? []).map(hostPattern);
  }

  /**
   * All that can be said of a URL without the network.
   *
   * @throws UrlRefusedError
   */
  check(text: string): URL {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.hostname === '') {
      throw new UrlRefusedError('Invalid URL', 'the address must be an absolute http or https URL');
    }
    if (this.#settings.require_https && url.protocol !== 'https:') {
      throw new UrlRefusedError('HTTPS is required', 'use https, or set security.require_https: false');
    }
    const host = hostOf(url);
    if (this.#patterns.length > 0 && !this.#patterns.some((pattern) => pattern.test(host))) {
      throw new UrlRefusedError('URL not in allowlist', `add ${host} to security.url_allowlist`);
    }
    // These names are the machine's own by definition (RFC 6761): no resolver needs to be asked.
    const isLocal = host === 'localhost' || host.endsWith('.localhost');
    if (this.#settings.block_private_ips && (isLocal || isIP(host) !== 0) && !this.#isPublic(host)) {
      throw privateAddress(host);
    }
    return url;
  }

  /**
   * The addresses to connect to, every one of them checked.
   *
   * @throws UrlRefusedError when the name is unknown or one of its addresses is not allowed
   */
  async addressesOf(url: URL): Promise<readonly HostAddress[]> {
    const host = hostOf(url);
    const family = isIP(host);
    if (family !== 0) return [{ address: host, family }]; // `check` has seen it
    let addresses: readonly HostAddress[];
    try {
      addresses = await this.#lookUp(host);
    } catch (error) {
      throw new UrlRefusedError('DNS lookup failed', toErrorBody(error).message);
    }
    if (addresses.length === 0) throw new UrlRefusedError('DNS lookup failed', `${host} has no address`);
    const blocked = this.#settings.block_private_ips && addresses.find(({ address }) => !this.#isPublic(address));
    if (blocked) throw privateAddress(`${host} (${blocked.address})`);
    return addresses;
  }

  #lookUp(host: string): Promise<readonly HostAddress[]> {
    let running = this.#lookups.get(host);
    if (running === undefined) {
      running = this.#resolve(host).finally(() => this.#lookups.delete(host));
      this.#lookups.set(host, running);
    }
    return running;
  }
}

/** The host as names and patterns know it: no brackets around IPv6, no dot at the end. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
}

function hostPattern(glob: string): RegExp {
  const host = glob
    .trim()
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '');
  const text = host.replace(/[\\^$.*+?()[\]{}|]/g, (character) =>
    character === '*' ? '.*' : character === '?' ? '.' : `\\${character}`,
  );
  return new RegExp(`^${text}$`);
}

function privateAddress(what: string): UrlRefusedError {
  return new UrlRefusedError(
    'Private IP blocked',
    `${what} is no public address; security.block_private_ips: false allows it`,
  );
}
