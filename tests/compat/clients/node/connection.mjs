import { behaviours } from './behaviours.mjs';

/** One client of the SDK: what it serves, what it has bound, and what its handlers have seen. */
export class Connection {
  constructor(sdk, { name, url, headers }) {
    this.sdk = sdk;
    this.name = name;
    this.worker = sdk.registerWorker(url, { workerName: name, ...(headers ? { headers } : {}) });
    /** Payloads by function. */
    this.notes = new Map();
    this.functions = new Map();
    this.triggers = new Map();
    this.triggerTypes = new Map();
    /** Bindings of the trigger types offered here: type -> id -> binding. */
    this.bindings = new Map();
    /** What handlers wait for. */
    this.gates = new Map();
  }

  serve({ function_id, behaviour = 'echo', options = {}, description, metadata }) {
    const handler = behaviours[behaviour](this, function_id, options);
    this.functions.set(function_id, this.worker.registerFunction(function_id, handler, { description, metadata }));
  }

  note(functionId, data) {
    this.notes.set(functionId, [...(this.notes.get(functionId) ?? []), data]);
  }

  /** Resolves when somebody opens the gate. Each opening lets one pass. */
  async pass(gate) {
    await this.#gate(gate).promise;
    this.gates.delete(gate);
  }

  open(gate) {
    this.#gate(gate).resolve();
  }

  #gate(gate) {
    if (!this.gates.has(gate)) {
      const made = {};
      made.promise = new Promise((resolve) => (made.resolve = resolve));
      this.gates.set(gate, made);
    }
    return this.gates.get(gate);
  }

  /** How a call ended. */
  async call({ function_id, payload, queue, void: isVoid, metadata, timeout_ms }) {
    const { TriggerAction } = this.sdk;
    const action = queue !== undefined ? TriggerAction.Enqueue({ queue }) : isVoid ? TriggerAction.Void() : undefined;
    try {
      const result = await this.worker.trigger({
        function_id,
        payload,
        ...(metadata === undefined ? {} : { metadata }),
        ...(action === undefined ? {} : { action }),
        ...(timeout_ms === undefined ? {} : { timeoutMs: timeout_ms }),
      });
      return { result: result ?? null, is_absent: result === undefined };
    } catch (error) {
      return { error: { code: error.code, message: error.message ?? String(error) } };
    }
  }

  provide(type) {
    const bindings = new Map();
    this.bindings.set(type, bindings);
    this.triggerTypes.set(
      type,
      this.worker.registerTriggerType(
        { id: type, description: `Rings for ${this.name}` },
        {
          registerTrigger: async ({ id, function_id, config, metadata }) => {
            if (config?.refuse) throw new Error(`no ${config.refuse} here`);
            bindings.set(id, { id, function_id, config, ...(metadata ? { metadata } : {}) });
          },
          unregisterTrigger: async ({ id }) => void bindings.delete(id),
        },
      ),
    );
  }
}
