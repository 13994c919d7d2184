"""A client for tests, in the process of the application: streams stay streams, and a client can be slow or leave."""

from pensieve_http.testing._bridge import AppClient, Connection, Reply
from pensieve_http.testing._events import EventReader, ServerSentEvent
from pensieve_http.testing._world import SoleClaim, World, build_world, captured_log

__all__ = [
    "AppClient",
    "Connection",
    "EventReader",
    "Reply",
    "ServerSentEvent",
    "SoleClaim",
    "World",
    "build_world",
    "captured_log",
]
