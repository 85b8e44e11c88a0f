import { expect, test } from 'vitest';
import { npmName, pythonName, workerNames } from './worker-names.js';

test.each([
  ['link', 'link', 'link'],
  ['click-streamer', 'clickStreamer', 'click_streamer'],
  ['Bulk.Importer_2', 'bulkImporter2', 'bulk_importer_2'],
  ['---', 'worker', 'worker'],
])('%s has functions %s::hey and %s::hello', (worker, camel, snake) => {
  expect(workerNames(worker)).toEqual({ worker, camel, snake });
});

test.each([
  ['Link', 'link', 'Link'],
  ['_x-', 'x-', 'x'],
  ['iii-sdk', 'iii-sdk-worker', 'iii-sdk-worker'],
  ['watchfiles', 'watchfiles-worker', 'watchfiles-worker'],
  ['-', 'worker', 'worker'],
])('%s is %s for npm and %s for pip', (worker, npm, python) => {
  expect(npmName(worker)).toBe(npm);
  expect(pythonName(worker)).toBe(python);
});
