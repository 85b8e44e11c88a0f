import { describe, expect, it } from 'vitest';
import { securitySettings } from './config.js';
import { UrlRefusedError } from './errors.js';
import { UrlGuard, type Resolver } from './url-guard.js';

const PUBLIC = { address: '8.8.8.8', family: 4 };

function guard(security: object = {}, resolve: Resolver = async () => [PUBLIC]): UrlGuard {
  return new UrlGuard(securitySettings({ security }), { resolve });
}

/** What the guard says of a URL: its message, or the addresses. */
async function verdict(url: string, with_: UrlGuard): Promise<unknown> {
  try {
    return (await with_.addressesOf(with_.check(url))).map(({ address }) => address);
  } catch (error) {
    expect(error).toBeInstanceOf(UrlRefusedError);
    expect((error as UrlRefusedError).code).toBe('url_validation_failed');
    return (error as UrlRefusedError).message;
  }
}

describe('the guard of addresses', () => {
  it.each([
    '',
    'nonsense',
    '/path',
    'ftp://example.com/',
    'file:///etc/passwd',
    'javascript:1',
    'https://',
    'https://a b/',
  ])('%j is no URL to call', async (url) => {
    expect(await verdict(url, guard())).toBe('Invalid URL');
  });

  it('wants https unless told otherwise', async () => {
    expect(await verdict('http://example.com/', guard())).toBe('HTTPS is required');
    expect(await verdict('http://example.com/', guard({ require_https: false }))).toEqual(['8.8.8.8']);
    expect(await verdict('https://example.com/', guard())).toEqual(['8.8.8.8']);
  });

  it.each([
    [['api.example.com'], 'https://api.example.com/x', true],
    [['api.example.com'], 'https://API.example.com./x', true],
    [['API.Example.com'], 'https://api.example.com:8443/x', true],
    [['*.example.com'], 'https://a.b.example.com/', true],
    [['*.example.com'], 'https://example.com/', false],
    [['*.example.com'], 'https://example.com.evil.net/', false],
    [['*.example.com'], 'https://evil.net/.example.com', false],
    [['*.example.com'], 'https://x.example.com@evil.net/', false],
    [['api-?.example.com'], 'https://api-1.example.com/', true],
    [['api-?.example.com'], 'https://api-12.example.com/', false],
    [['a.example.com'], 'https://aXexample.com/', false],
    [['[2606:4700::1111]'], 'https://[2606:4700::1111]/', true],
    [['8.8.8.8'], 'https://8.8.8.8/', true],
    [['one.net', 'two.net'], 'https://two.net/', true],
    [['*'], 'https://any.net/', true],
    [[], 'https://any.net/', true],
  ])('allowlist %j, %s: %j', async (url_allowlist, url, allowed) => {
    const said = await verdict(url, guard({ url_allowlist }));
    if (allowed) expect(said).toBeInstanceOf(Array);
    else expect(said).toBe('URL not in allowlist');
  });

  it.each([
    'https://127.0.0.1/', 'https://127.1/', 'https://2130706433/', 'https://0x7f.0.0.1/', 'https://0177.0.0.1/', 'https://0/',
    'https://169.254.169.254/latest/meta-data', 'https://[::1]/', 'https://[::ffff:127.0.0.1]/', 'https://[64:ff9b::7f00:1]/',
    'https://localhost/', 'https://LOCALHOST./', 'https://db.localhost/', 'https://１２７.0.0.1/',
  ])('%s is refused without a lookup', (url) => {
    expect(() => guard().check(url)).toThrow('Private IP blocked');
    expect(guard({ block_private_ips: false }).check(url)).toBeInstanceOf(URL);
  }); // prettier-ignore

  it('refuses a name when any of its addresses is private', async () => {
    for (const address of ['127.0.0.1', '10.0.0.1', '100.64.0.1', '::1', '::ffff:10.0.0.1', 'fe80::1%2']) {
      const resolve: Resolver = async () => [PUBLIC, { address, family: address.includes(':') ? 6 : 4 }];
      expect(await verdict('https://mixed.net/', guard({}, resolve))).toBe('Private IP blocked');
      expect(await verdict('https://mixed.net/', guard({ block_private_ips: false }, resolve))).toEqual([
        '8.8.8.8',
        address,
      ]);
    }
  });

  it('says when a name is unknown', async () => {
    expect(
      await verdict(
        'https://none.net/',
        guard({}, async () => []),
      ),
    ).toBe('DNS lookup failed');
    const failing = guard({}, () => Promise.reject(new Error('ENOTFOUND')));
    expect(await verdict('https://none.net/', failing)).toBe('DNS lookup failed');
  });

  it('asks once for calls of the same moment, and again afterwards', async () => {
    let asked = 0;
    const counting = guard({}, async () => (asked++, [PUBLIC]));
    await Promise.all([1, 2, 3].map(() => verdict('https://one.net/', counting)));
    expect(asked).toBe(1);
    await verdict('https://one.net/', counting);
    expect(asked).toBe(2);
  });

  it('takes a bare configuration, and refuses unknown keys', () => {
    expect(securitySettings(undefined)).toMatchObject({ require_https: true, block_private_ips: true });
    expect(() => securitySettings({ security: { allow: [] } })).toThrow(/allow/);
  });
});
