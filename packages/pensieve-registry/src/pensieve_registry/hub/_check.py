"""Whether the curated catalog is true: each entry against the hub. Fetches no model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from pensieve_core import PensieveError
from pensieve_registry._curated import CuratedModel
from pensieve_registry.hub._choice import choose
from pensieve_registry.hub._client import Hub

__all__ = ["CheckedEntry", "check_curated"]


@attrs.frozen(kw_only=True)
class CheckedEntry:
    """One entry, and what is wrong with it."""

    name: str
    reference: str
    problem: str | None
    """None: it resolves, and the hub says of it what the catalog does."""
    sha256: str | None
    """Of its first file, as the hub says; None when it does not resolve, or the hub does not say."""


def check_curated(hub: Hub, models: Sequence[CuratedModel]) -> Iterator[CheckedEntry]:
    """Ask the hub for each entry, one request each. Problems are told, not raised."""
    for model in models:
        try:
            choice = choose(hub.repository(model.ref), file=model.ref.file)
        except PensieveError as error:
            yield _checked(model, error.message, None)
        else:
            first, size = choice.variant.first, choice.variant.size_bytes
            yield _checked(model, _difference(model, first.sha256, size, choice.variant.quantization), first.sha256)


def _checked(model: CuratedModel, problem: str | None, sha256: str | None) -> CheckedEntry:
    return CheckedEntry(name=model.name, reference=str(model.ref), problem=problem, sha256=sha256)


def _difference(model: CuratedModel, sha256: str | None, size_bytes: int, quantization: str) -> str | None:
    if model.sha256 is not None and sha256 != model.sha256:
        return f"the hub's file has the hash {sha256}, the catalog says {model.sha256}"
    if size_bytes != model.size_bytes:
        return f"the hub's files have {size_bytes} bytes, the catalog says {model.size_bytes}"
    if quantization != model.quantization:
        return f"the file's name says {quantization}, the catalog {model.quantization}"
    return None
