import { join } from 'node:path';
import { builtUrl } from '../../core/built-url.js';
import { tempFolder } from '@trine/testing';
import { StorageThreads } from '../../storage/index.js';
import { SimDatabase } from './simulation/database.js';
import { Disk } from './simulation/disk.js';
import { queueStoreSuite, type StoreUnderTest } from './suite/store.js';

queueStoreSuite('SQLite behind its threads', async (): Promise<StoreUnderTest> => {
  const folder = await tempFolder();
  const start = async (): Promise<{ storage: StorageThreads; store: StoreUnderTest['store'] }> => {
    const storage = new StorageThreads({ projectDir: folder.path, dataDir: join(folder.path, 'data') });
    return { storage, store: await storage.open({ module: builtUrl(import.meta.url, './store.js') }) };
  };
  let running = await start();
  return {
    get store() {
      return running.store;
    },
    async restart() {
      await running.storage.stop();
      running = await start();
    },
    async remove() {
      await running.storage.stop();
      await folder.remove();
    },
  };
});

const databases = { main: new SimDatabase(), volatile: new SimDatabase() };

queueStoreSuite('of the simulation', async (): Promise<StoreUnderTest> => {
  databases.main.clear();
  /** Does at once what a scheduler would choose the time for. */
  const serve = (disk: Disk): NodeJS.Immediate =>
    setImmediate(() => {
      if (disk.waiting > 0) disk.commit(disk.waiting);
      while (disk.unanswered > 0) disk.answer();
      while (disk.asked > 0) disk.look();
      while (disk.untold > 0) disk.tell();
      serving = serve(disk);
    });
  const start = async (): Promise<{ disk: Disk; store: StoreUnderTest['store'] }> => {
    const disk = new Disk(databases.main, databases.volatile);
    return { disk, store: await disk.open() };
  };
  let running = await start();
  let serving = serve(running.disk);
  return {
    get store() {
      return running.store;
    },
    async restart() {
      clearImmediate(serving);
      running.disk.crash(false);
      running = await start();
      serving = serve(running.disk);
    },
    async remove() {
      clearImmediate(serving);
      running.disk.crash(false);
    },
  };
});
