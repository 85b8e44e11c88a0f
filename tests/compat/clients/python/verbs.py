"""What a test can tell the client to do: `(connections, words) -> value`. `as` names a connection."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from connection import Connection
from sdk import HttpInvocationConfig, IStream, Logger, StreamDeleteResult, StreamSetResult, create_channel, create_stream
from transfer import read_everything, write_bytes, write_texts


def on(connections, words):
    return connections[words.pop("as", "main")]


def connect(connections, words):
    """Another client in this process."""
    name = words.pop("as")
    connections[name] = Connection(**words)


def disconnect(connections, words):
    connections.pop(words["as"]).worker.shutdown()


def call(connections, words):
    return on(connections, words).call(**words)


def call_big(connections, words):
    """Sends and gets a text that is too long for the line protocol."""
    text = words["text"] * words["times"]
    result = on(connections, words).worker.trigger(
        {"function_id": words["function_id"], "payload": {"text": text}, "timeout_ms": words["timeout_ms"]}
    )
    return {"length": len(result["data"]["text"]), "is_equal": result["data"]["text"] == text}


def serve(connections, words):
    on(connections, words).serve(**words)


def unserve(connections, words):
    on(connections, words).functions[words["function_id"]].unregister()


def notes(connections, words):
    return on(connections, words).notes[words["function_id"]]


def open_gate(connections, words):
    on(connections, words).gates[words["gate"]].set()


def serve_by_http(connections, words):
    """A function that the engine calls by HTTP."""
    connection = on(connections, words)
    function = connection.worker.register_function(words["function_id"], HttpInvocationConfig(**words["invocation"]))
    connection.functions[words["function_id"]] = function


def bind(connections, words):
    connection = on(connections, words)
    trigger = {"type": words["type"], "function_id": words["function_id"], "config": words["config"]}
    if "metadata" in words:
        trigger["metadata"] = words["metadata"]
    connection.triggers[words["handle"]] = connection.worker.register_trigger(trigger)


def unbind(connections, words):
    on(connections, words).triggers[words["handle"]].unregister()


def provide(connections, words):
    on(connections, words).provide(words["type"])


def withdraw(connections, words):
    connection = on(connections, words)
    connection.worker.unregister_trigger_type(connection.trigger_types[words["type"]][0])


def bindings(connections, words):
    return list(on(connections, words).bells[words["type"]].bindings.values())


def fire(connections, words):
    """Fires each binding of a type."""
    connection = on(connections, words)
    for binding in list(connection.bells[words["type"]].bindings.values()):
        connection.call(binding["function_id"], words["payload"], void=True)


def channel_out(connections, words):
    """Makes a channel, hands one end to a function, and does its own part at the other."""
    worker = on(connections, words).worker
    channel = create_channel(worker)
    with ThreadPoolExecutor(1) as pool:
        request = {"function_id": words["to"], "payload": {"reader": channel.reader_ref.model_dump()}}
        consumed = pool.submit(worker.trigger, {**request, "timeout_ms": words["timeout_ms"]})
        if "bytes" in words:
            asyncio.run(write_bytes(channel.writer, words["bytes"]))
        else:
            asyncio.run(write_texts(channel.writer, **words["texts"]))
        return consumed.result()


def channel_in(connections, words):
    worker = on(connections, words).worker
    channel = create_channel(worker)
    with ThreadPoolExecutor(1) as pool:
        payload = {key: words[key] for key in ("bytes", "texts") if key in words}
        payload["writer"] = channel.writer_ref.model_dump()
        request = {"function_id": words["from"], "payload": payload, "timeout_ms": words["timeout_ms"]}
        produced = pool.submit(worker.trigger, request)
        read = asyncio.run(read_everything(channel.reader))
        produced.result()
        return read


class KeptStream(IStream):
    """A stream that is kept here, not by the engine. Its changes are noted under its name."""

    def __init__(self, connection, name):
        self.note = lambda data: connection.note(name, data)
        self.groups = {}

    def group(self, input):
        return self.groups.setdefault(input.group_id, {})

    async def get(self, input):
        return self.group(input).get(input.item_id)

    async def set(self, input):
        self.note({"set": input.item_id})
        old = self.group(input).get(input.item_id)
        self.group(input)[input.item_id] = input.data
        return StreamSetResult(old_value=old, new_value=input.data)

    async def delete(self, input):
        self.note({"delete": input.item_id})
        return StreamDeleteResult(old_value=self.group(input).pop(input.item_id, None))

    async def list(self, input):
        return list(self.group(input).values())

    async def list_groups(self, input):
        return list(self.groups)

    async def update(self, input):
        return None


def keep_stream(connections, words):
    connection = on(connections, words)
    create_stream(connection.worker, words["name"], KeptStream(connection, words["name"]))


def log(connections, words):
    Logger().warn(words["message"], words["fields"])


def observe(connections, words):
    """How an observer that the engine cannot serve ends."""
    from iii import ObserveRejection

    handle = on(connections, words).worker.observe({"function_id": words["source"]}, words["target"])
    try:
        handle.ready(timeout=words["timeout_ms"] / 1000)
    except ObserveRejection as rejection:
        return {"code": rejection.code}
    return {"state": handle.state}


VERBS = {
    made.__name__: made
    for made in (
        connect,
        disconnect,
        call,
        call_big,
        serve,
        unserve,
        notes,
        serve_by_http,
        bind,
        unbind,
        provide,
        withdraw,
        bindings,
        fire,
        channel_out,
        channel_in,
        keep_stream,
        log,
        observe,
    )
}
VERBS["open"] = open_gate
