"""A worker on any version of the Python package `iii-sdk`, told what to do on standard input:

    python driver.py NAME URL

A line `{"id":1,"do":"call","with":{...}}` is answered by `{"id":1,"value":...}` or
`{"id":1,"error":{"code","message"}}`. Other output is the SDK's own and means nothing. Ends with its
standard input. `../node` and `../rust` say the same things with their SDKs.
"""

import json
import os
import sys
import threading
import traceback

from connection import Connection
from verbs import VERBS

_, NAME, URL = sys.argv
connections = {}
writing = threading.Lock()


def tell(line):
    with writing:
        sys.stdout.write("\n" + json.dumps(line) + "\n")
        sys.stdout.flush()


def answer(text):
    line = json.loads(text)
    try:
        tell({"id": line["id"], "value": VERBS[line["do"]](connections, line.get("with", {}))})
    except Exception as error:
        code = getattr(error, "code", None)
        message = getattr(error, "message", None) or str(error)
        tell({"id": line["id"], "error": {"code": code, "message": message if code else traceback.format_exc()}})


connections["main"] = Connection(NAME, URL)
for text in sys.stdin:
    # The calls of the SDK block: each line has a thread of its own.
    threading.Thread(target=answer, args=(text,), daemon=True).start()
os._exit(0)
