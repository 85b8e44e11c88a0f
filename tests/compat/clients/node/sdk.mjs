/** What has moved between the versions of the SDK, under one name each. */
export async function loadSdk(packageName) {
  const sdk = await import(packageName);
  // With 0.18 these left the client, with 0.20 the others left the package.
  const helpers = sdk.http === undefined ? await import(`${packageName}/helpers`) : undefined;
  return {
    registerWorker: sdk.registerWorker,
    TriggerAction: sdk.TriggerAction,
    http: sdk.http ?? (await import('@iii-dev/helpers/http')).http,
    Logger: sdk.Logger ?? (await import('@iii-dev/helpers/observability')).Logger,
    createChannel: (worker) => (helpers ? helpers.createChannel(worker) : worker.createChannel()),
    createStream: (worker, name, stream) =>
      helpers ? helpers.createStream(worker, name, stream) : worker.createStream(name, stream),
  };
}
