"""Fetching models from the Hugging Face hub into the cache that all its programs share.

    hub, store = Hub(), HubStore(Path("~/.cache/huggingface/hub").expanduser())
    plan = plan_pull(hub, store, HubRef(owner="Qwen", name="Qwen3-8B-GGUF", quantization="Q4_K_M"))
    pull(plan, hub, store, on_event=print).path

Knows the hub, the cache and GGUF headers; prints nothing and decides nothing about terminals. Importing it imports
huggingface_hub: do so late.
"""

from pensieve_registry.hub._check import CheckedEntry, check_curated
from pensieve_registry.hub._choice import Choice, Room, choose
from pensieve_registry.hub._client import Body, Hub, HubSource, UnavailableError
from pensieve_registry.hub._errors import NoSuchQuantizationError, NotAtHubError, PullError, PullStoppedError
from pensieve_registry.hub._progress import Advanced, Planned, PullEvent, Retrying, Speed, Verified, Waiting
from pensieve_registry.hub._pull import OnEvent, Plan, Pulled, plan_pull, pull
from pensieve_registry.hub._repository import RemoteFile, RemoteRepository, Variant, quantization_of
from pensieve_registry.hub._store import HubStore
from pensieve_registry.hub._transfer import Meter, Patience, Transfer

__all__ = [
    "Advanced",
    "Body",
    "CheckedEntry",
    "Choice",
    "Hub",
    "HubSource",
    "HubStore",
    "Meter",
    "NoSuchQuantizationError",
    "NotAtHubError",
    "OnEvent",
    "Patience",
    "Plan",
    "Planned",
    "PullError",
    "PullEvent",
    "PullStoppedError",
    "Pulled",
    "RemoteFile",
    "RemoteRepository",
    "Retrying",
    "Room",
    "Speed",
    "Transfer",
    "UnavailableError",
    "Variant",
    "Verified",
    "Waiting",
    "check_curated",
    "choose",
    "plan_pull",
    "pull",
    "quantization_of",
]
