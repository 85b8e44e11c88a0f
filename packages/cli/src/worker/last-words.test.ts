import { expect, test } from 'vitest';
import { lastError, lastWords } from './last-words.js';

const NODE = [
  'node:internal/modules/cjs/loader:1210',
  '  throw err;',
  '  ^',
  '',
  "Error: Cannot find module '/w/nothere.js'",
  '    at Module._resolveFilename (node:internal/modules/cjs/loader:1207:15)',
  '    at node:internal/main/run_main_module:28:49 {',
  "  code: 'MODULE_NOT_FOUND',",
  '  requireStack: []',
  '}',
  '',
  'Node.js v20.20.2',
];
const PYTHON = [
  'Traceback (most recent call last):',
  '  File "/w/main.py", line 3, in <module>',
  '    import nothere',
  "ModuleNotFoundError: No module named 'nothere'",
];

test.each([
  [NODE, 1, ["Error: Cannot find module '/w/nothere.js'"]],
  [NODE, 2, ["Error: Cannot find module '/w/nothere.js'", "  code: 'MODULE_NOT_FOUND',"]],
  [PYTHON, 1, ["ModuleNotFoundError: No module named 'nothere'"]],
  [PYTHON, 5, PYTHON],
  [['one', 'two', '', 'three'], 2, ['two', 'three']],
  [[], 5, []],
  [undefined, 5, []],
])('%j in %i lines', (tail, count, expected) => {
  expect(lastWords(tail, count)).toEqual(expected);
});

test('an error is told apart from whatever else is printed', () => {
  expect(lastError(NODE)).toBe("Error: Cannot find module '/w/nothere.js'");
  expect(lastError(['npm warn install-scripts 2 packages have install scripts'])).toBeUndefined();
});
