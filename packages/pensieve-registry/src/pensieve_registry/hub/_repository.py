"""What a repository of the hub offers: its files sorted into models that can be loaded. Pure.

Publishers put quantisations of one model beside each other, as single files or as shards, at the top or in a folder for
each, with projectors beside them. What a file is, is read from its name here; its header is read after it has come.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

import attrs

from pensieve_registry._quantizations import label_in
from pensieve_registry._references import HubFile

__all__ = ["RemoteFile", "RemoteRepository", "Variant", "quantization_of"]

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_PROJECTOR = re.compile(r"mmproj", re.IGNORECASE)
_ASIDE = re.compile(r"imatrix|(^|/)(mtp|draft|dflash|eagle)[-_.]|[-_.](lora|adapter)[-_.]", re.IGNORECASE)
"""Files that help another model, or to make one."""
_SUFFIX = ".gguf"
_SHA256_DIGITS = 64


@attrs.frozen(kw_only=True)
class RemoteFile:
    """One file at the hub."""

    name: HubFile
    size_bytes: int
    oid: str
    """The hash of its bytes, in hexadecimal digits, and the name of its blob in the shared cache. 64 digits: SHA-256,
    of files in large-file storage, as GGUF files should be. 40: git's SHA-1 over a header and the bytes."""

    @property
    def sha256(self) -> str | None:
        """None: git itself holds the file, and only its own hash is known."""
        return self.oid if len(self.oid) == _SHA256_DIGITS else None

    @property
    def stem(self) -> str:
        """Return the name without folder, ending and number of shard."""
        shard = _SHARD.fullmatch(self.base)
        return shard["stem"] if shard else self.base[: -len(_SUFFIX)]

    @property
    def base(self) -> str:
        """Return the name without folder."""
        return self.name.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """Return what stands before the name; "" at the top."""
        return self.name.rpartition("/")[0]


@attrs.frozen(kw_only=True)
class Variant:
    """One quantisation of one model: what is loaded together, the projector aside."""

    quantization: str
    """In upper case; where the name tells none, the name."""
    files: tuple[RemoteFile, ...]
    """The file, or all shards in order."""

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)

    @property
    def first(self) -> RemoteFile:
        """The file, or the first shard."""
        return self.files[0]


@attrs.frozen(kw_only=True)
class RemoteRepository:
    """What the hub told about one revision of a repository."""

    repository: str
    """`owner/name`."""
    revision: str | None
    """What was asked for; None: the main branch."""
    commit: str
    """40 hexadecimal digits."""
    files: tuple[RemoteFile, ...]
    """Its GGUF files, by name."""

    def variants(self) -> tuple[Variant, ...]:
        """Return what can be loaded, the smallest first. Split models of which shards are missing are left out."""
        models = [file for file in self.files if not _PROJECTOR.search(file.name) and not _ASIDE.search(file.name)]
        groups = itertools.groupby(sorted(models, key=_group), key=_group)
        found = [_variant(tuple(files)) for _, files in groups]
        return tuple(sorted(filter(None, found), key=lambda variant: (variant.size_bytes, variant.first.name)))

    def projector(self, variant: Variant) -> RemoteFile | None:
        """Return the projector that comes along: in the model's folder or at the top, best at 16 bits."""
        found = [file for file in self.files if _PROJECTOR.search(file.name) and _SHARD.fullmatch(file.base) is None]
        near = [file for file in found if file.folder == variant.first.folder] or [f for f in found if not f.folder]
        return min(near, key=_roughness, default=None)


def quantization_of(file: RemoteFile) -> str | None:
    """Return the quantisation that a name tells, in upper case: the last one in it, else the folder's."""
    return label_in((file.stem, file.folder))


def _group(file: RemoteFile) -> tuple[str, str, int]:
    shard = _SHARD.fullmatch(file.base)
    return file.folder, file.stem, int(shard["count"]) if shard else 0


def _variant(files: Sequence[RemoteFile]) -> Variant | None:
    count = _group(files[0])[2]
    shards = sorted(files, key=lambda file: file.name)
    if count and _numbers(shards) != list(range(1, count + 1)):
        return None
    return Variant(quantization=quantization_of(files[0]) or files[0].stem.upper(), files=tuple(shards))


def _numbers(files: Iterable[RemoteFile]) -> list[int]:
    return [int(shard["number"]) for file in files if (shard := _SHARD.fullmatch(file.base))]


def _roughness(file: RemoteFile) -> tuple[int, str]:
    """F16 is what every backend computes; wider ones only take more room."""
    order = ["F16", "FP16", "BF16", "Q8_0", "F32", "FP32"]
    label = quantization_of(file)
    return order.index(label) if label in order else len(order), file.name
