"""Projectors: files that turn images into what a model reads. Which of them any engine here can use.

Which model one belongs to is in `_pairing`.
"""

from __future__ import annotations

from pathlib import Path

from pensieve_registry._errors import GgufHeaderError
from pensieve_registry._header import GgufHeader, read_gguf_header

__all__ = ["check_projector", "is_projector", "reads_positions_in_two_dimensions", "shows_images"]

# Positions in two dimensions (M-RoPE), and images that are read from all sides at once: no engine here computes them.
_MULTIDIMENSIONAL = "rope.dimension_sections"
_NOT_CAUSAL = frozenset({"gemma3", "gemma4v", "gemma4uv", "deepseek4v"})


def is_projector(header: GgufHeader) -> bool:
    """Return whether the file makes embeddings of images or sound for another model."""
    return header.text("general.type") == "mmproj" or header.text("general.architecture") == "clip"


def shows_images(projector: GgufHeader) -> bool:
    """Return whether it is of images, and of a kind that engines here can use."""
    seen = projector.metadata.get("clip.has_vision_encoder") is True
    return seen and projector.text("clip.projector_type") not in _NOT_CAUSAL


def reads_positions_in_two_dimensions(model: GgufHeader) -> bool:
    """Return whether the model wants to be shown images in a way that no engine here knows."""
    return f"{model.text('general.architecture')}.{_MULTIDIMENSIONAL}" in model.metadata


def check_projector(path: Path) -> None:
    """Hold that `path` is a projector.

    Raises:
        GgufHeaderError: it is none, or cannot be read.
    """
    if not is_projector(read_gguf_header(path)):
        msg = "is no projector (mmproj) of images"
        raise GgufHeaderError(msg)
