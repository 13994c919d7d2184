"""What a quantisation is called: by the names of files, and by people. Pure; the same at the hub and here."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["label_in", "wishes_for"]

_LABEL = re.compile(
    r"(?<![A-Za-z0-9])(?P<label>(?:UD-)?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_MOE)?|NVFP4|B?F(?:P)?(?:16|32)))"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE,
)


def label_in(texts: Iterable[str]) -> str | None:
    """Return the quantisation that the first text with any tells, in upper case: the last one in it."""
    for text in texts:
        labels = [found["label"] for found in _LABEL.finditer(text)]
        if labels:
            return labels[-1].upper()
    return None


def wishes_for(quantization: str, stem: str) -> frozenset[str]:
    """Return what a wish may be called, in upper case: unsloth's UD-Q4_K_XL is Q4_K_XL to most people.

    Args:
        quantization: The label, in upper case.
        stem: The file's name without its ending and without the number of its shard.
    """
    return frozenset({quantization, quantization.removeprefix("UD-"), stem.upper()})
