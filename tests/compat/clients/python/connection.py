import asyncio
import threading
from collections import defaultdict

from behaviours import BEHAVIOURS
from sdk import InitOptions, TriggerAction, TriggerHandler, register_worker

# While a handler waits for its gate it looks again after this many seconds.
LOOK_AGAIN_S = 0.01


class Bell(TriggerHandler):
    """A trigger type: keeps its bindings, and refuses what its configuration asks to be refused."""

    def __init__(self):
        self.bindings = {}

    async def register_trigger(self, config):
        if isinstance(config.config, dict) and config.config.get("refuse"):
            raise ValueError(f"no {config.config['refuse']} here")
        binding = {"id": config.id, "function_id": config.function_id, "config": config.config}
        if getattr(config, "metadata", None):
            binding["metadata"] = config.metadata
        self.bindings[config.id] = binding

    async def unregister_trigger(self, config):
        self.bindings.pop(config.id, None)


class Connection:
    """One client of the SDK: what it serves, what it has bound, and what its handlers have seen."""

    def __init__(self, name, url, headers=None, namespace=None):
        options = {"worker_name": name}
        if headers:
            options["headers"] = headers
        if namespace:
            options["namespace"] = namespace
        self.name = name
        self.worker = register_worker(url, InitOptions(**options))
        # Payloads by function.
        self.notes = defaultdict(list)
        self.functions = {}
        self.triggers = {}
        self.trigger_types = {}
        self.bells = {}
        # What handlers wait for.
        self.gates = defaultdict(threading.Event)

    def serve(self, function_id, behaviour="echo", options=None, description=None, metadata=None):
        handler = BEHAVIOURS[behaviour](self, function_id, **(options or {}))
        self.functions[function_id] = self.worker.register_function(
            function_id, handler, description=description, metadata=metadata
        )

    def note(self, function_id, data):
        self.notes[function_id].append(data)

    async def gate(self, name):
        """Returns when somebody opens the gate. Each opening lets one pass."""
        while not self.gates[name].is_set():
            await asyncio.sleep(LOOK_AGAIN_S)
        self.gates[name].clear()

    def call(self, function_id, payload=None, queue=None, void=False, metadata=None, timeout_ms=None, namespace=None):
        """How a call ended."""
        request = {"function_id": function_id, "payload": payload}
        if metadata is not None:
            request["metadata"] = metadata
        if queue is not None:
            request["action"] = TriggerAction.Enqueue(queue=queue)
        if void:
            request["action"] = TriggerAction.Void()
        if timeout_ms is not None:
            request["timeout_ms"] = timeout_ms
        if namespace is not None:
            request["namespace"] = namespace
        try:
            result = self.worker.trigger(request)
        except Exception as error:
            return {"error": {"code": getattr(error, "code", None), "message": getattr(error, "message", str(error))}}
        # None is all that this SDK tells of an absent result.
        return {"result": result.model_dump() if hasattr(result, "model_dump") else result, "is_absent": result is None}

    def provide(self, type):
        bell = self.bells[type] = Bell()
        description = {"id": type, "description": f"Rings for {self.name}"}
        self.trigger_types[type] = (description, self.worker.register_trigger_type(description, bell))
