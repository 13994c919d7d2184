"""The Anthropic Messages API as an ASGI application, over any `ModelCatalog` and `EngineProvider`.

Knows HTTP: routes, limits, keys, hosts, origins, streaming, draining. Knows no wire format (`pensieve_protocol`), no
engine, and no server: it runs under any that speaks ASGI, and is built for Hypercorn's ways.

Above: `pensieve_cli` composes and serves it. Below: `pensieve_protocol`, `pensieve_inference`, `pensieve_core`.
Tests of your own: `pensieve_http.testing.AppClient`.
"""

from pensieve_http.app import create_app, create_batch_runner, new_request_id
from pensieve_http.drain import Drain
from pensieve_http.settings import ApiKey, HttpSettings

__all__ = ["ApiKey", "Drain", "HttpSettings", "create_app", "create_batch_runner", "new_request_id"]
