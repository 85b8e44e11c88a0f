import { join } from 'node:path';
import { FakeClock, tempFolder } from '@trine/testing';
import { createLog } from '../../../../core/log-writer.js';
import { systemRandom } from '../../../../core/random.js';
import type { WorkerHost } from '../../../../core/worker-host.js';
import { StorageThreads } from '../../../../storage/index.js';
import { adapterCapabilities } from '../index.js';
import { brokerSuite, type SuiteStore } from '../suite/index.js';
import { openBuiltin } from './durability.js';

async function store(): Promise<SuiteStore> {
  const folder = await tempFolder();
  const clock = new FakeClock();
  const log = createLog({ level: 'error', format: 'json', stream: { write: () => true } });
  const threads: StorageThreads[] = [];
  return {
    async open(events) {
      const storage = new StorageThreads({ projectDir: folder.path, dataDir: join(folder.path, 'data') });
      threads.push(storage);
      const host: Partial<WorkerHost> = { clock, log, random: systemRandom, storage };
      const broker = await openBuiltin(host as WorkerHost, undefined, events);
      const stop = broker.stop.bind(broker);
      // The folder's lock belongs to the storage of one engine: it goes with its broker.
      broker.stop = async () => {
        await stop();
        await storage.stop();
      };
      return broker;
    },
    pass: (ms) => clock.advance(ms),
    now: () => clock.now(),
    async remove() {
      await Promise.all(threads.map((storage) => storage.stop()));
      await folder.remove();
    },
  };
}

brokerSuite({ adapter: 'builtin', capabilities: adapterCapabilities.builtin, store });
