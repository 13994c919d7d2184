"""What to do about a model that is not on this machine: the command that fetches it, where there is one."""

from __future__ import annotations

from pensieve_cli.wording import FIRST_MODEL
from pensieve_core import ModelNotFoundError
from pensieve_registry import HubRef, InvalidReferenceError, NameRef, SeveralModelsError, load_curated, parse_ref

__all__ = ["explained", "how_to_fetch"]


def explained(error: ModelNotFoundError) -> str:
    """Return the error's message and what to do: how it is fetched, if it can be; or how a first one is."""
    if isinstance(error, SeveralModelsError):
        return error.message
    advice = how_to_fetch(error.name)
    return error.message + (advice if advice or error.known else f"; {FIRST_MODEL}")


def how_to_fetch(name: str) -> str:
    """Return the end of a sentence for a repository of the hub and a name of the catalog; "" for all others."""
    try:
        reference = parse_ref(name)
    except InvalidReferenceError:
        return ""
    is_curated = isinstance(reference, NameRef) and reference.name.lower() in {one.name for one in load_curated()}
    return f"; pensieve-server pull {reference} fetches it" if is_curated or isinstance(reference, HubRef) else ""
