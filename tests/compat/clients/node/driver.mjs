/**
 * A worker on any version of the npm package `iii-sdk`, told what to do on standard input:
 *
 *   node driver.mjs PACKAGE NAME URL
 *
 * A line `{"id":1,"do":"call","with":{...}}` is answered by `{"id":1,"value":...}` or
 * `{"id":1,"error":{"code","message"}}`. Other output is the SDK's own and means nothing. Ends with its
 * standard input. `../python` and `../rust` say the same things with their SDKs.
 */
import { createInterface } from 'node:readline';
import { Connection } from './connection.mjs';
import { loadSdk } from './sdk.mjs';
import { verbs } from './verbs.mjs';

const [, , packageName, name, url] = process.argv;
const sdk = await loadSdk(packageName);
const driver = { sdk, connections: new Map([['main', new Connection(sdk, { name, url })]]) };

async function answer(line) {
  const { id, do: verb, with: words = {} } = JSON.parse(line);
  try {
    const run = verbs[verb];
    if (run === undefined) throw new Error(`no verb ${verb}`);
    const value = await run(driver, words);
    process.stdout.write(`\n${JSON.stringify({ id, value: value ?? null })}\n`);
  } catch (error) {
    const { code, message, stack } = error;
    process.stdout.write(`\n${JSON.stringify({ id, error: { code, message: code ? message : stack } })}\n`);
  }
}

// `shutdown()` of the SDK throws this from nowhere when the client is just connecting again.
const SHUT_WHILE_CONNECTING = 'WebSocket was closed before the connection was established';
process.on('uncaughtException', (error) => {
  if (error.message !== SHUT_WHILE_CONNECTING) throw error;
});

createInterface({ input: process.stdin })
  .on('line', (line) => void answer(line))
  .on('close', () => process.exit(0));
