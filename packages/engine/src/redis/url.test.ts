import { describe, expect, it } from 'vitest';
import { refusalIn } from './errors.js';
import { maskedUrl, redisPrefix, redisUrl } from './url.js';

describe('the address of a Redis', () => {
  it('is told without its password', () => {
    expect(maskedUrl('redis://user:s3cret@example.org:6379/1')).toBe('redis://user:***@example.org:6379/1');
    expect(maskedUrl('rediss://:s3cret@example.org')).toBe('rediss://:***@example.org');
    expect(maskedUrl('redis://example.org?password=s3cret')).not.toContain('s3cret');
    expect(maskedUrl('s3cret')).not.toContain('s3cret');
  });

  it('is a URL of its scheme, and its prefix leaves the slot of a cluster alone', () => {
    expect(redisUrl.safeParse('redis://localhost').success).toBe(true);
    expect(redisUrl.safeParse('localhost:6379').success).toBe(false);
    expect(redisPrefix.safeParse('shop-1').success).toBe(true);
    expect(redisPrefix.safeParse('a}b').success).toBe(false);
    expect(redisPrefix.safeParse('').success).toBe(false);
  });
});

describe('what a server says when it refuses', () => {
  it('is told with what to do', () => {
    expect(refusalIn('WRONGPASS invalid username-password pair or user is disabled.')).toContain('redis_url');
    expect(refusalIn('-OOM allow-oom flag is not set on the script'.slice(1))).toContain('maxmemory');
    expect(refusalIn('MISCONF Errors writing to the AOF file: No space left on device')).toContain('disk');
    expect(refusalIn('ERR unknown command')).toBeUndefined();
  });
});
