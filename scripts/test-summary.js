/**
 * Reads vitest's JSON report: prints the seconds of each suite and, as the last line, the totals.
 * Exits with 1 when anything failed, or when there is no report to read.
 *
 * Usage: node scripts/test-summary.js REPORT.json
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { ROOT } from './root.js';

/**
 * @typedef {{ name: string, status: string, startTime: number, endTime: number, assertionResults: unknown[] }} TestFile
 * @typedef {{ numPassedTests: number, numFailedTests: number, numPendingTests: number, numTodoTests: number,
 *   success: boolean, testResults: TestFile[] }} Report
 */

const path = process.argv[2] ?? '';
const report = read(path);
if (report === undefined) {
  console.error(`vitest left no report in ${path}: it did not get as far as running tests`);
  console.log('tests: 0 passed, 1 failed, 0 skipped');
  process.exit(1);
}

/** @type {Map<string, { files: number, ms: number }>} */
const suites = new Map();
for (const file of report.testResults) {
  const suite = suiteOf(relative(ROOT, file.name));
  const sum = suites.get(suite) ?? { files: 0, ms: 0 };
  suites.set(suite, { files: sum.files + 1, ms: sum.ms + Math.max(0, file.endTime - file.startTime) });
}
for (const [suite, { files, ms }] of [...suites].sort()) {
  console.log(`suite ${suite}: ${(ms / 1000).toFixed(1)} s in ${files} ${files === 1 ? 'file' : 'files'}`);
}

// A file that could not even be loaded has no tests to count: it counts as one that failed.
const broken = report.testResults.filter((file) => file.status === 'failed' && !hasFailedTest(file)).length;
const failed = report.numFailedTests + broken;
console.log(
  `tests: ${report.numPassedTests} passed, ${failed} failed, ${report.numPendingTests + report.numTodoTests} skipped`,
);
if (failed > 0 || !report.success) process.exitCode = 1;

/** @param {TestFile} file */
function hasFailedTest(file) {
  return file.assertionResults.some((test) => /** @type {{ status: string }} */ (test).status === 'failed');
}

/** @param {string} file - path from the root, e.g. `packages/engine/src/core/router.test.ts` */
function suiteOf(file) {
  const parts = file.split(/[\\/]/);
  return parts.slice(0, parts.length > 2 ? 2 : 1).join('/');
}

/**
 * @param {string} file
 * @returns {Report | undefined}
 */
function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
