import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { capabilities, type Broker, type Capability } from '../index.js';
import { coreSuite } from './core.js';
import { House, type SuiteAdapter, type SuiteStore } from './house.js';
import { jobSuites, runSuites } from './jobs.js';
import { queueSuites } from './queues.js';

export { House, RULES, SETTINGS, type SuiteAdapter, type SuiteStore } from './house.js';
export { suiteLog, type SuiteLog } from './log.js';

/** The methods that belong to a capability. */
const METHODS: Partial<Record<Capability, keyof Broker>> = {
  batch: 'acceptMany',
  cancel: 'cancel',
  dead_discard: 'discardOne',
  dead_edit: 'editDead',
  late_success: 'finishLate',
  lookup: 'lookup',
  pause: 'setPaused',
  peek: 'peek',
  purge: 'purge',
  replay: 'replay',
};

/** The core suite, and the suite of each capability that the adapter declares. */
export function brokerSuite(adapter: SuiteAdapter): void {
  describe(`the ${adapter.adapter} broker`, () => {
    coreSuite(adapter);

    describe('capabilities', () => {
      let store: SuiteStore;
      let house: House;
      beforeEach(async () => {
        store = await adapter.store();
        house = await House.open(store);
      });
      afterEach(async () => {
        await house.stop();
        await store.remove();
      });

      it('has the methods of its capabilities', () => {
        for (const capability of adapter.capabilities) {
          const method = METHODS[capability];
          if (method !== undefined) expect(typeof house.broker[method], `${capability}: ${method}`).toBe('function');
        }
      });
      runSuites(jobSuites, adapter.capabilities, () => house);
      runSuites(queueSuites, adapter.capabilities, () => house);
    });
  });
}

describe('the suites', () => {
  it('cover every capability', () => {
    expect(Object.keys({ ...jobSuites, ...queueSuites }).sort()).toEqual(Object.keys(capabilities).sort());
  });
});
