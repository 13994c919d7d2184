"""Which of a repository's quantisations is taken, and why. Pure.

Without a wish, the finest one up to Q6_K that leaves the machine room: beyond six bits a weight little is gained, and
below four much is lost. The shares are ours: what weights leave is for the context, the compute buffers and other
programs.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs

from pensieve_registry._quantizations import wishes_for
from pensieve_registry._references import HubFile
from pensieve_registry.hub._errors import NoSuchQuantizationError
from pensieve_registry.hub._repository import RemoteRepository, Variant

__all__ = ["Choice", "Room", "choose"]

Room: TypeAlias = Callable[[], int | None]
"""Bytes; None: unknown."""

_STEPS: tuple[tuple[float, tuple[str, ...]], ...] = (
    (0.4, ("UD-Q6_K_XL", "UD-Q6_K", "Q6_K")),
    (0.5, ("UD-Q5_K_XL", "UD-Q5_K_M", "Q5_K_M", "Q5_K_S")),
    (1.0, ("UD-Q4_K_XL", "UD-Q4_K_M", "Q4_K_M", "MXFP4", "MXFP4_MOE", "Q4_K_S", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_1")),
    (1.0, ("UD-Q3_K_XL", "Q3_K_XL", "Q3_K_L", "UD-Q3_K_M", "Q3_K_M", "IQ3_M", "Q3_K_S", "IQ3_XXS", "UD-IQ3_XXS")),
    (1.0, ("UD-Q2_K_XL", "Q2_K_L", "Q2_K", "IQ2_M", "IQ2_XS", "UD-IQ2_XXS", "IQ2_XXS")),
)
"""From the finest down: what share of the room each may take at most, and its kinds in order of preference."""
_GB = 10**9


@attrs.frozen(kw_only=True)
class Choice:
    """What is fetched, and the sentence that says why."""

    variant: Variant
    reason: str


def choose(
    repository: RemoteRepository,
    *,
    quantization: str | None = None,
    file: HubFile | None = None,
    room: Room | None = None,
) -> Choice:
    """Return what a reference means in this repository.

    Args:
        repository: What there is.
        quantization: The wish, in upper case.
        file: Or the very file; any shard stands for its model.
        room: Tells what weights may take on this machine; asked only when that decides.

    Raises:
        NoSuchQuantizationError: there is nothing of the kind, it is ambiguous, or nothing fits.
    """
    variants = repository.variants()
    if not variants:
        raise NoSuchQuantizationError(f"{repository.repository} holds no GGUF model", ())
    if file is not None:
        return _by_file(variants, file)
    if quantization is not None:
        return _by_wish(variants, quantization, repository.repository)
    if len(variants) == 1:
        return Choice(variant=variants[0], reason="the only one there is")
    return _fitting(variants, None if room is None else room(), repository.repository)


def _by_file(variants: Sequence[Variant], file: HubFile) -> Choice:
    for variant in variants:
        if any(file in {part.name, part.base} for part in variant.files):
            return Choice(variant=variant, reason="as asked for")
    choices = [variant.first.name for variant in variants]
    raise NoSuchQuantizationError(f"there is no model file {file}", _resembling(file, choices))


def _by_wish(variants: Sequence[Variant], quantization: str, repository: str) -> Choice:
    found = [variant for variant in variants if quantization in wishes_for(variant.quantization, variant.first.stem)]
    if len(found) == 1:
        return Choice(variant=found[0], reason="as asked for")
    if found:
        message = f"{quantization} is ambiguous in {repository}: say the file, as in {repository}:{found[0].first.name}"
        raise NoSuchQuantizationError(message, [variant.first.name for variant in found])
    choices = list(dict.fromkeys(variant.quantization for variant in variants))
    raise NoSuchQuantizationError(f"{repository} has no {quantization}", _resembling(quantization, choices))


def _resembling(wish: str, choices: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*difflib.get_close_matches(wish, choices), *choices]))


def _fitting(variants: Sequence[Variant], room_bytes: int | None, repository: str) -> Choice:
    for share, kinds in _STEPS:
        for kind in kinds:
            found = [variant for variant in variants if variant.quantization == kind]
            if len(found) > 1:
                return _by_wish(variants, kind, repository)
            if found and _fits(found[0], room_bytes, share):
                return Choice(variant=found[0], reason=_why(found[0], room_bytes))
    smallest = variants[0]
    if _fits(smallest, room_bytes, 1.0):
        return Choice(variant=smallest, reason=_why(smallest, room_bytes))
    size, room = smallest.size_bytes / _GB, (room_bytes or 0) / _GB
    message = f"the smallest, {smallest.quantization}, takes {size:.1f} GB, and this machine has room for {room:.1f} GB"
    raise NoSuchQuantizationError(message, list(dict.fromkeys(variant.quantization for variant in variants)))


def _fits(variant: Variant, room_bytes: int | None, share: float) -> bool:
    if room_bytes is None:
        return share == 1.0
    return variant.size_bytes <= room_bytes * share


def _why(variant: Variant, room_bytes: int | None) -> str:
    if room_bytes is None:
        return "the usual balance of size and quality; how much memory there is could not be found out"
    return (
        f"the best for this machine: it takes {variant.size_bytes / _GB:.1f} of {room_bytes / _GB:.1f} GB for weights"
    )
