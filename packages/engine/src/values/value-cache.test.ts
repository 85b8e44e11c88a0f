import { describe, expect, it } from 'vitest';
import { ValueCache } from './value-cache.js';

describe('value cache', () => {
  it('knows values, absence, and what it does not know', () => {
    const cache = new ValueCache();
    cache.put('a', '1');
    cache.put('b', undefined);
    expect(cache.get('a')).toMatchObject({ text: '1' });
    expect(cache.get('b')).toMatchObject({ text: undefined });
    expect(cache.get('c')).toBeUndefined();
    cache.drop('a');
    expect(cache.get('a')).toBeUndefined();
  });

  it('stays within its bytes, whatever is put in', () => {
    const maxBytes = 10_000;
    const cache = new ValueCache(maxBytes);
    for (let i = 0; i < 1_000; i++) {
      cache.put(`key${i % 300}`, 'x'.repeat((i * 37) % 400));
      expect(cache.bytes).toBeLessThanOrEqual(maxBytes);
    }
    expect(cache.size).toBeGreaterThan(5);
    for (let i = 0; i < 300; i++) cache.drop(`key${i}`);
    expect(cache.bytes).toBe(0);
  });

  it('does not keep a value larger than all of it', () => {
    const cache = new ValueCache(1_000);
    cache.put('a', 'small');
    cache.put('a', 'x'.repeat(1_000));
    expect(cache.get('a')).toBeUndefined();
    expect(cache.bytes).toBe(0);
  });

  it('keeps what is read over what is not', () => {
    const cache = new ValueCache(20_000);
    cache.put('hot', '1');
    for (let i = 0; i < 1_000; i++) {
      expect(cache.get('hot')).toBeDefined();
      cache.put(`cold${i}`, '1');
    }
    expect(cache.get('cold0')).toBeUndefined();
  });

  it('keeps texts as they are', () => {
    const cache = new ValueCache();
    const text = '{"é":"😀","n":1.0}';
    cache.put('a', text);
    expect(cache.get('a')?.text).toBe(text);
  });
});
