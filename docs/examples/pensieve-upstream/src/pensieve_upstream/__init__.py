"""An engine plugin: generates on another server, by Anthropic's API or by OpenAI's (vLLM, llama-server, Pensieve…).

`pensieve-server --engine upstream` finds it by its entry point in the group `pensieve.engines`.
"""

from pensieve_upstream.engine import UpstreamEngine
from pensieve_upstream.provider import UpstreamProvider, create_provider
from pensieve_upstream.settings import UpstreamSettings

__all__ = ["UpstreamEngine", "UpstreamProvider", "UpstreamSettings", "create_provider"]
