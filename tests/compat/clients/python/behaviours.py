"""Handlers that a test can ask for by name: `(connection, function_id, **options) -> handler`."""

import json

from sdk import http
from transfer import read_bytes, read_everything, write_bytes, write_texts


def without_caller(data):
    if not isinstance(data, dict):
        return data
    return {key: value for key, value in data.items() if key != "_caller_worker_id"}


def echo(connection, function_id):
    return lambda data: {"from": connection.name, "data": without_caller(data)}


def answer(connection, function_id, value=None):
    """A fixed answer; none at all where there is no value."""
    return lambda data: value


def fail(connection, function_id):
    def handler(data):
        raise ValueError(f"no luck in {connection.name}")

    return handler


def note(connection, function_id):
    def handler(data, metadata=None):
        connection.note(function_id, {"data": data, "metadata": metadata})

    return handler


def stumble(connection, function_id, times):
    """Notes, and fails the first times."""

    def handler(data):
        connection.note(function_id, {"data": without_caller(data)})
        calls = len(connection.notes[function_id])
        if calls <= times:
            raise ValueError(f"stumbled {calls}")

    return handler


def relay(connection, function_id):
    """Calls as it is told and returns how that ended."""
    return lambda request: connection.call(**without_caller(request))


def wait(connection, function_id):
    """Waits for its gate."""

    async def handler(data):
        connection.note(function_id, {"data": without_caller(data)})
        await connection.gate(function_id)
        return {"waited": connection.name}

    return handler


def consume(connection, function_id):
    """Reads a channel that came in the payload to its end."""

    async def handler(data):
        return await read_everything(data["reader"])

    return handler


def produce(connection, function_id):
    """Writes into a channel that came in the payload."""

    async def handler(data):
        if data.get("bytes") is not None:
            await write_bytes(data["writer"], data["bytes"])
        else:
            await write_texts(data["writer"], **data["texts"])

    return handler


def page(connection, function_id):
    return lambda request: {
        "status_code": 201,
        "headers": {"X-Client": connection.name},
        "body": {
            "word": request["path_params"].get("word"),
            "query": request["query_params"],
            "method": request["method"],
            "sent": request["body"],
        },
    }


def upload(connection, function_id):
    async def handler(request):
        read = await read_bytes(request["request_body"])
        body = {"type": request["headers"].get("content-type"), "parsed": request["body"], **read}
        return {"status_code": 200, "body": body}

    return handler


def download(connection, function_id, bytes):
    @http
    async def handler(request, response):
        await response.status(206)
        await response.headers({"content-type": "application/octet-stream", "x-part": "all of it"})
        await write_bytes(response.writer, bytes)

    return handler


def events(connection, function_id, count):
    """One event, and another each time its gate opens."""

    @http
    async def handler(request, response):
        await response.status(200)
        await response.headers({"content-type": "text/event-stream", "cache-control": "no-cache"})
        for n in range(count):
            if n > 0:
                await connection.gate(function_id)
            await response.writer.write(f'id: {n}\ndata: {{"n":{n}}}\n\n'.encode())
        await response.writer.close_async()

    return handler


def guard(connection, function_id):
    """Middleware of a route."""

    def handler(input):
        if input["request"]["headers"].get("x-pass") == "yes":
            return {"action": "continue"}
        return {"action": "respond", "response": {"status_code": 403, "body": {"phase": input["phase"]}}}

    return handler


def doorkeeper(connection, function_id, result):
    """Auth function of a listener: says no to what has not the key."""

    def handler(input):
        connection.note(function_id, {"data": input})
        if input["headers"].get("x-key") != "open":
            raise ValueError("no key")
        return result

    return handler


def steward(connection, function_id):
    """Middleware of a listener: calls, and says that it was there."""

    def handler(input):
        connection.note(function_id, {"data": input})
        ended = connection.call(input["function_id"], input["payload"])
        if "error" in ended:
            raise ValueError(ended["error"]["message"])
        return {"by_way_of": "steward", "result": ended["result"]}

    return handler


def registrar(connection, function_id):
    """Hook of a registration: refuses what has the word in its id."""

    def handler(input):
        connection.note(function_id, {"data": input})
        if "forbidden-thing" in json.dumps(input):
            raise ValueError("not that")
        return {}

    return handler


BEHAVIOURS = {
    made.__name__: made
    for made in (
        echo,
        answer,
        fail,
        note,
        stumble,
        relay,
        wait,
        consume,
        produce,
        page,
        upload,
        download,
        events,
        guard,
        doorkeeper,
        steward,
        registrar,
    )
}
