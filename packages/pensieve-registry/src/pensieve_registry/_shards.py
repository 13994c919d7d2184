"""The files of one model: a single GGUF, or all of its shards.

`llama-gguf-split` cuts large models into `<stem>-00001-of-00003.gguf` and so on; llama.cpp is given the first and finds
the others by name. The shards agree with each other here, or the model is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import attrs

from pensieve_registry._errors import GgufHeaderError, within
from pensieve_registry._header import GgufHeader, GgufTensor, read_gguf_header

__all__ = ["GgufModel", "first_file", "model_stem", "read_gguf_model", "shard_paths"]

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)


_SHARDS_LIMIT = 512
"""The largest models come in some thirty."""
_TENSORS_LIMIT = 65_536
"""Of all shards together."""


@attrs.frozen(kw_only=True)
class GgufModel:
    """All files of one model, each with a header that passed."""

    paths: tuple[Path, ...]
    """The file, or the shards in order."""
    headers: tuple[GgufHeader, ...]
    """In the same order; of the metadata of further shards only what they say of the split."""

    @property
    def path(self) -> Path:
        """What llama.cpp is given: the file, or the first shard."""
        return self.paths[0]

    @property
    def header(self) -> GgufHeader:
        """The first file's header; the keys of the model are in it."""
        return self.headers[0]

    @property
    def tensors(self) -> tuple[GgufTensor, ...]:
        """The tensors of all files."""
        return tuple(tensor for header in self.headers for tensor in header.tensors)

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(header.file_bytes for header in self.headers)


@attrs.frozen(kw_only=True)
class _ShardName:
    stem: str
    number: int
    count: int

    @classmethod
    def of(cls, path: Path) -> _ShardName | None:
        found = _SHARD.fullmatch(path.name)
        if found is None:
            return None
        return cls(stem=found["stem"], number=int(found["number"]), count=int(found["count"]))

    @property
    def is_possible(self) -> bool:
        return 1 <= self.number <= self.count <= _SHARDS_LIMIT

    def file(self, number: int) -> str:
        return f"{self.stem}-{number:05}-of-{self.count:05}.gguf"


def model_stem(path: Path) -> str:
    """Return the file's name without its ending and without the number of its shard."""
    shard = _ShardName.of(path)
    return shard.stem if shard else path.stem


def first_file(path: Path) -> Path:
    """Return the first shard for any shard, and any other file as it is."""
    shard = _ShardName.of(path)
    return path.with_name(shard.file(1)) if shard else path


def shard_paths(path: Path) -> tuple[Path, ...]:
    """Return where all shards of the model at `path` should be, by their names; of any other file, the file."""
    shard = _ShardName.of(path)
    if shard is None or not shard.is_possible:
        return (path,)
    return tuple(path.with_name(shard.file(number)) for number in range(1, shard.count + 1))


def read_gguf_model(path: Path) -> GgufModel:
    """Read and check the file at `path`, and with it all shards of its model.

    Raises:
        GgufHeaderError: a header is bad, or a shard is missing or belongs elsewhere.
    """
    shard = _ShardName.of(path)
    if shard is not None:
        return _read_shards(path, shard)
    header = read_gguf_header(path)
    count = header.integer("split.count") or 1
    if count > 1:
        raise GgufHeaderError(f"is one of {count} shards, but is not named like '-00001-of-{count:05}.gguf'")
    return GgufModel(paths=(path,), headers=(header,))


def _read_shards(path: Path, name: _ShardName) -> GgufModel:
    if not name.is_possible:
        raise GgufHeaderError(f"is named shard {name.number} of {name.count}")
    paths = shard_paths(path)
    for number, shard in enumerate(paths, start=1):
        if not shard.is_file():
            raise GgufHeaderError(f"shard {number} of {name.count} is missing: '{shard.name}'")
    model = GgufModel(paths=paths, headers=tuple(_read_in_order(paths)))
    _check_numbers(model)
    _check_tensors(model)
    return model


def _read_in_order(paths: tuple[Path, ...]) -> Iterator[GgufHeader]:
    tensors = 0
    for path in paths:
        with within(f"shard '{path.name}'"):
            header = read_gguf_header(path)
            tensors += len(header.tensors)
            if tensors > _TENSORS_LIMIT:
                raise GgufHeaderError(f"is the one with which there are more than {_TENSORS_LIMIT} tensors")
            yield header if path == paths[0] else _less_metadata(header)


def _less_metadata(header: GgufHeader) -> GgufHeader:
    """Forget what a further shard says of anything but the split: the model's metadata are in the first."""
    kept = {key: value for key, value in header.metadata.items() if key.startswith("split.")}
    return attrs.evolve(header, metadata=MappingProxyType(kept))


def _check_numbers(model: GgufModel) -> None:
    """Hold what each header says of its place (`split.no` counts from zero) against the file's name."""
    count = len(model.paths)
    for index, (path, header) in enumerate(zip(model.paths, model.headers, strict=True)):
        found = header.integer("split.no"), header.integer("split.count")
        if found != (index, count):
            with within(f"shard '{path.name}'"):
                raise GgufHeaderError(f"holds split.no and split.count {found}, but is named {(index, count)}")


def _check_tensors(model: GgufModel) -> None:
    names = [tensor.name for tensor in model.tensors]
    promised = model.header.integer("split.tensors.count")
    if promised not in (None, len(names)):
        raise GgufHeaderError(f"key 'split.tensors.count': {promised}, but the shards hold {len(names)} tensors")
    if len(set(names)) < len(names):
        msg = "the shards hold a tensor of the same name"
        raise GgufHeaderError(msg)
