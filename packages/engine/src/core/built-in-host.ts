/**
 * The `WorkerHost` of one built-in worker: its view of the core, through a session of its own.
 */
import { DEFAULT_NAMESPACE, ErrorCode, Payload, toErrorBody, TrineError } from '@trine/protocol';
import { z } from 'zod';
import type { Clock } from './clock.js';
import type { Core } from './core.js';
import { describeInputFault } from './input-fault.js';
import { LocalSession } from './local-session.js';
import type { Log } from './log.js';
import type { Random } from './random.js';
import type { Storage } from './store.js';
import type {
  Condition,
  FunctionDefinition,
  HealthReport,
  HostChannels,
  HttpFunctionServer,
  InvokeRequest,
  Outcome,
  Registration,
  RegistryView,
  TriggerTypeDefinition,
  WorkerHost,
} from './worker-host.js';

export interface BuiltInHostOptions {
  readonly core: Core;
  readonly entryName: string;
  /** The worker's canonical name: what introspection shows as the owner of its functions. */
  readonly workerName: string;
  readonly storage: Storage;
  readonly projectDir: string;
  readonly dataDir: string;
  readonly reportPort: (name: string, port: number) => void;
}

export class BuiltInHost implements WorkerHost {
  readonly entryName: string;
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
  readonly storage: Storage;
  readonly registry: RegistryView;
  readonly channels: HostChannels;
  readonly projectDir: string;
  readonly dataDir: string;
  readonly session: LocalSession;
  readonly reportPort: (name: string, port: number) => void;
  readonly #core: Core;

  constructor(options: BuiltInHostOptions) {
    const { core } = options;
    this.#core = core;
    this.entryName = options.entryName;
    this.log = core.log.for(options.entryName);
    this.clock = core.clock;
    this.random = core.random;
    this.storage = options.storage;
    this.projectDir = options.projectDir;
    this.dataDir = options.dataDir;
    this.reportPort = options.reportPort;
    this.session = new LocalSession(core, 'engine', options.workerName);
    this.registry = registryView(core);
    this.channels = {
      create: (channel) => core.channels.create(this.session, channel),
      ended: core.channels.ended,
      open: ({ channel_id, access_key }) => core.channels.open(channel_id, access_key),
    };
  }

  registerFunction<Input>(definition: FunctionDefinition<Input>): Registration {
    const { request, response } = definition;
    return this.session.register({
      id: definition.id,
      description: definition.description,
      metadata: definition.metadata,
      requestFormat: () => jsonSchema(request),
      responseFormat: () => jsonSchema(response),
      handler: (payload, context) => {
        if (definition.raw === true) return definition.handler(undefined as Input, context);
        let input: unknown;
        if (request !== undefined) {
          const value = payload.isNull && definition.id.startsWith('engine::') ? {} : payload.value;
          const parsed = request.safeParse(value);
          if (!parsed.success) {
            const detail = describeInputFault(parsed.error, value);
            throw new TrineError(
              ErrorCode.deserialization,
              `Failed to deserialize input for ${definition.id}: ${detail}`,
            );
          }
          input = parsed.data;
        } else {
          input = payload.value;
        }
        return definition.handler(input as Input, context);
      },
    });
  }

  registerTriggerType(definition: TriggerTypeDefinition): Registration {
    const provider = {
      id: definition.id,
      namespace: DEFAULT_NAMESPACE,
      description: definition.description,
      session: this.session,
      configSchema: () => jsonSchema(definition.configSchema),
      requestSchema: () => jsonSchema(definition.requestSchema),
      responseSchema: () => jsonSchema(definition.responseSchema),
      bind: (trigger: Parameters<typeof bindingOf>[0]) => definition.bind(bindingOf(trigger)),
      unbind: (trigger: Parameters<typeof bindingOf>[0], reason: Parameters<TriggerTypeDefinition['unbind']>[1]) =>
        definition.unbind(bindingOf(trigger), reason),
    };
    void this.#core.bindings.addProvider(provider);
    return { remove: () => void this.#core.bindings.removeProvider(provider) };
  }

  async registerTrigger(trigger: Parameters<WorkerHost['registerTrigger']>[0]): Promise<Registration> {
    const id = trigger.id ?? this.random.uuid();
    const error = await this.#core.bindings.register({
      id,
      type: trigger.type,
      functionId: trigger.functionId,
      namespace: trigger.namespace ?? DEFAULT_NAMESPACE,
      triggerNamespace: undefined,
      config: Payload.fromForeign(trigger.config ?? {}),
      metadata: trigger.metadata === undefined ? undefined : Payload.fromForeign(trigger.metadata),
      owner: this.session,
    });
    if (error !== undefined) throw new TrineError(error.code, error.message);
    return { remove: () => void this.#core.bindings.unregister(id, this.session) };
  }

  invoke(request: InvokeRequest): Promise<Outcome>;
  invoke(request: InvokeRequest, settled: (outcome: Outcome) => void): void;
  invoke(request: InvokeRequest, settled?: (outcome: Outcome) => void): Promise<Outcome> | void {
    if (settled === undefined) return new Promise((settle) => this.invoke(request, settle));
    this.#core.router.call(
      this.session,
      {
        functionId: request.functionId,
        namespace: request.namespace ?? DEFAULT_NAMESPACE,
        metadata: request.metadata,
        traceparent: request.traceparent,
        baggage: request.baggage,
      },
      request.payload,
      {
        callerInvocationId: undefined,
        stampCaller: false,
        settle: settled,
        timeoutMs: request.timeoutMs,
        replicas: request.consumers === 'replicas',
        handle: request.handle,
        late: request.late,
      },
    );
  }

  serveHttpFunctions(server: HttpFunctionServer): Registration {
    return this.#core.httpFunctions.serve(server);
  }

  reportHealth(report: () => HealthReport): Registration {
    const { health } = this.#core;
    const name = this.session.info.name ?? this.entryName;
    health.set(name, report);
    return {
      remove: () => {
        // A successor may have reported already.
        if (health.get(name) === report) health.delete(name);
      },
    };
  }

  activateTrigger(triggerId: string): void {
    this.#core.bindings.activate(this.session, triggerId);
  }

  async condition(functionId: string, request: Omit<InvokeRequest, 'functionId' | 'metadata'>): Promise<Condition> {
    const outcome = await this.invoke({ ...request, functionId, payload: request.payload.fork() });
    if (!outcome.ok) {
      const { error, cause, worker } = outcome;
      return { verdict: 'error', error, cause, ...(worker === undefined ? {} : { worker }) };
    }
    return { verdict: outcome.result?.json.trim() === 'false' ? 'skip' : 'run' };
  }
}

function registryView(core: Core): RegistryView {
  return {
    hasFunction: (functionId, namespace = DEFAULT_NAMESPACE) =>
      core.registry.resolve(namespace, functionId) !== undefined,
    onFunction: (listener) => core.registry.availability.on(listener),
    onWorker: (listener) =>
      core.workers.on(({ kind, session }) =>
        listener({ kind, workerId: session.id, name: session.info.name, pid: session.info.pid }),
      ),
  };
}

function bindingOf(trigger: {
  readonly id: string;
  readonly type: string;
  readonly functionId: string;
  readonly namespace: string;
  readonly config: Payload;
  readonly metadata: Payload | undefined;
  readonly owner: { readonly id: string; readonly info: { readonly name: string | undefined } } | undefined;
}): Parameters<TriggerTypeDefinition['bind']>[0] {
  return {
    id: trigger.id,
    type: trigger.type,
    functionId: trigger.functionId,
    namespace: trigger.namespace,
    config: trigger.config.fork().value,
    metadata: trigger.metadata,
    workerId: trigger.owner?.id,
    workerName: trigger.owner?.info.name,
  };
}

/** A zod schema as JSON Schema draft-07, or undefined where there is none. */
function jsonSchema(schema: z.ZodType | undefined): unknown {
  if (schema === undefined) return undefined;
  try {
    return z.toJSONSchema(schema, { target: 'draft-7', io: 'input', unrepresentable: 'any' });
  } catch (error) {
    return { description: toErrorBody(error).message };
  }
}
