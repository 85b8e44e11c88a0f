"""What has moved between the versions of the SDK, under one name each."""

from iii import InitOptions, IStream, TriggerAction, register_worker
from iii.triggers import TriggerHandler

try:
    from iii import HttpInvocationConfig, Logger
    from iii.stream import StreamDeleteResult, StreamSetResult
    from iii.utils import http
except ImportError:
    from iii_helpers.http import HttpInvocationConfig, http
    from iii_helpers.observability import Logger
    from iii_helpers.stream import StreamDeleteResult, StreamSetResult

# With 0.18 these left the client.
try:
    from iii.helpers import create_channel, create_stream
except ImportError:

    def create_channel(worker):
        return worker.create_channel()

    def create_stream(worker, name, stream):
        worker.create_stream(name, stream)


__all__ = [
    "HttpInvocationConfig",
    "IStream",
    "InitOptions",
    "Logger",
    "StreamDeleteResult",
    "StreamSetResult",
    "TriggerAction",
    "TriggerHandler",
    "create_channel",
    "create_stream",
    "http",
    "register_worker",
]
