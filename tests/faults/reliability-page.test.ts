import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { withRuns } from './reliability-page.js';

const page = readFileSync(new URL('../../docs/reliability.md', import.meta.url), 'utf8');
const rowsOf = (text: string): string[] => text.split('\n').filter((line) => line.includes('made-up'));

describe('the page of fault runs', () => {
  it('gets a row per test, the newest run of each, and keeps everything else', () => {
    const run = { date: '2026-01-02', seed: 7, counts: { kills: 1_000, jobs: 12 } };
    const first = withRuns(page, [
      { ...run, test: 'made-up b' },
      { ...run, test: 'made-up a' },
    ]);
    const second = withRuns(first, [{ ...run, test: 'made-up a', seed: 8 }]);
    expect(rowsOf(second)).toEqual([
      '| made-up a | 2026-01-02 | 8 | 1,000 kills, 12 jobs |',
      '| made-up b | 2026-01-02 | 7 | 1,000 kills, 12 jobs |',
    ]);
    const rest = second.split('\n').filter((line) => !line.includes('made-up'));
    expect(rest).toEqual(withRuns(page, []).split('\n'));
  });

  it('is as the command would write it', () => {
    expect(withRuns(page, [])).toBe(page);
  });

  it('is refused without its marks', () => {
    expect(() => withRuns('# Nothing', [])).toThrow('docs/reliability.md');
  });
});
