"""What the models of a machine are called, told by the names of their files alone: for completion, which cannot wait.

Reading a header takes some 20 ms, listing a folder next to nothing. So this may name what is no model, or none that
can be served, and knows no numbers behind ids that two files would share. `LocalCatalog` knows better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pensieve_registry._descriptor import model_id
from pensieve_registry._shards import model_stem
from pensieve_registry._sources import Found, FoundFile, ModelSource
from pensieve_registry._walk import Unreadable

__all__ = ["ids_by_file_name"]

_PROJECTOR = "mmproj"
"""In the name of nearly every file that makes embeddings of images, and of no model."""


def ids_by_file_name(sources: Iterable[ModelSource]) -> tuple[str, ...]:
    """Return the ids that the models of `sources` should have, each once and in order. Blocks on the disk."""
    names = (name for source in sources for found in source.find() for name in _name(found))
    return tuple(sorted({model_id(name) for name in names if _PROJECTOR not in name.lower()}))


def _name(found: Found) -> Iterator[str]:
    match found:
        case Unreadable():
            return
        case FoundFile(path=path, name=name):
            yield name or model_stem(path)
        case path:
            yield model_stem(path)
