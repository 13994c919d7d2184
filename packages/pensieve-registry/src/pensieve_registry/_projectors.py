"""Which projector belongs to a model: the file beside it that turns images into what this model reads.

Publishers put it into the same folder: `mmproj-F16.gguf`, `mmproj-<model>-Q8_0.gguf`, `<model>-mmproj-f16.gguf`. It is
taken when its name says nothing that the model's does not, and its embeddings are as wide as the model's. Where several
are left, the one whose name says most, and of these one at 16 bits.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from pensieve_registry._errors import GgufHeaderError
from pensieve_registry._header import GgufHeader, read_gguf_header
from pensieve_registry._shards import GgufModel, model_stem

__all__ = ["check_projector", "is_projector", "projector_beside"]

_NOISE = re.compile(r"mmproj|model|vision|projector|ud|b?f(p)?(16|32)|i?q\d.*|[0-9]+x[0-9.]+b")
"""Words that tell the form of a file, not what it is about."""

# Positions in two dimensions (M-RoPE), and images that are read from all sides at once: no engine here computes them.
_MULTIDIMENSIONAL = "rope.dimension_sections"
_NOT_CAUSAL = frozenset({"gemma3", "gemma4v", "gemma4uv", "deepseek4v"})


def is_projector(header: GgufHeader) -> bool:
    """Return whether the file makes embeddings of images or sound for another model."""
    return header.text("general.type") == "mmproj" or header.text("general.architecture") == "clip"


def projector_beside(model: GgufModel) -> Path | None:
    """Return the projector of `model` in its folder; None when there is none, or none that could be used."""
    words = _words(model_stem(model.path))
    found = [path for path in _candidates(model.path.parent) if _words(path.stem) <= words and _fits(path, model)]
    return max(found, key=_preference, default=None)


def check_projector(path: Path) -> None:
    """Hold that `path` is a projector.

    Raises:
        GgufHeaderError: it is none, or cannot be read.
    """
    if not is_projector(read_gguf_header(path)):
        msg = "is no projector (mmproj) of images"
        raise GgufHeaderError(msg)


def _candidates(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            if "mmproj" in path.name.lower() and path.suffix.lower() == ".gguf":
                yield path


def _words(stem: str) -> frozenset[str]:
    words = re.split(r"[-\s.]+", stem.lower())
    return frozenset(word for word in words if word and not _NOISE.fullmatch(word))


def _fits(path: Path, model: GgufModel) -> bool:
    try:
        projector = read_gguf_header(path)
    except GgufHeaderError:
        return False
    architecture = model.header.text("general.architecture")
    width = model.header.integer(f"{architecture}.embedding_length")
    return (
        is_projector(projector)
        and projector.metadata.get("clip.has_vision_encoder") is True
        and projector.integer("clip.vision.projection_dim") in (None, width)
        and projector.text("clip.projector_type") not in _NOT_CAUSAL
        and f"{architecture}.{_MULTIDIMENSIONAL}" not in model.header.metadata
    )


def _preference(path: Path) -> tuple[int, bool, str]:
    return len(_words(path.stem)), bool(re.search(r"(?<!b)f16", path.stem.lower())), path.name
