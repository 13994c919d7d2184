"""A client for tests, in the process of the application: streams stay streams, and a client can be slow or leave."""

from pensieve_http.testing._bridge import AppClient, Connection, Reply
from pensieve_http.testing._events import EventReader, ServerSentEvent
from pensieve_http.testing._world import World, build_world

__all__ = ["AppClient", "Connection", "EventReader", "Reply", "ServerSentEvent", "World", "build_world"]
