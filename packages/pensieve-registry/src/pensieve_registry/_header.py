"""The header of a GGUF file, read with suspicion.

Native code trusts what a header says, and headers that lie have been heap reads behind the file and integer overflows
there (design 5). So this runs first, and every file that it lets pass has: known types, no duplicate names, every
length inside the file, and every tensor's bytes inside the file, one behind the other. Time and memory are bounded by
the limits below and in `_cursor`, whatever the file says: a second, and 100 MB.

Quotations are from the format's description, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
Above: `_shards` puts the files of a split model together; `_descriptor` reads the meaning of the keys.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, TypeAlias

import attrs

from pensieve_registry._cursor import HeaderCursor
from pensieve_registry._errors import GgufHeaderError, within
from pensieve_registry._format import SCALARS, TENSOR_TYPES, TensorType, ValueType

__all__ = ["GgufArray", "GgufHeader", "GgufTensor", "LongText", "MetadataValue", "read_gguf_header"]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_UINT32 = SCALARS[ValueType.UINT32]
_INT64_MAX = 2**63 - 1

_KEYS_LIMIT = 16_384
_TENSORS_LIMIT = 32_768
"""The largest models have some two thousand tensors and a hundred keys."""
_KEY_BYTES = 65_535
"""'It [a key] must be at most 2^16-1 bytes long.'"""
_NAME_BYTES = 64
"""'It [a tensor's name] must be at most 64 bytes long.'"""
_DIMENSIONS = 4
"""'Currently at most 4, but this may change in the future.'"""
_TEXT_BYTES = 1024 * 1024
"""Longer strings are measured, not kept. Chat templates are under 50 kB."""
_ALIGNMENT = "general.alignment"
_ARRAY_HEAD_BYTES = 12
"""The type of the items and their number."""
_DEFAULT_ALIGNMENT = 32
_ALIGNMENT_LIMIT = 1 << 20
_VOCABULARY = "tokenizer.ggml.tokens"
_VOCABULARY_BYTES = 32 * 1024 * 1024
_PADDING = re.compile(rb"(?:[\s\S]{8}\[PAD\d+\])+\Z")
"""What converters append to a vocabulary so that its matrix is a round number high, as strings lie in the file."""
_PADDING_BYTES = 16_384
"""Qwen2.5, which has the most, has 399 of 19 bytes. The search takes time by the square of it."""


@attrs.frozen(kw_only=True)
class GgufArray:
    """An array in the metadata: measured, not kept."""

    item_type: ValueType
    count: int


@attrs.frozen(kw_only=True)
class LongText:
    """A string too long to keep (`tokenizer.huggingface.json`…)."""

    size_bytes: int


MetadataValue: TypeAlias = int | float | bool | str | GgufArray | LongText


@attrs.frozen(kw_only=True)
class GgufTensor:
    """Where one tensor lies."""

    name: str
    shape: tuple[int, ...]
    """As in the file: the fastest dimension first."""
    type: TensorType
    offset: int
    """Bytes from the start of the tensor data."""

    @property
    def weights(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """How many bytes these take."""
        return self.weights // self.type.block_weights * self.type.block_bytes


@attrs.frozen(kw_only=True)
class GgufHeader:
    """Everything before the weights. All of it has been checked."""

    version: int
    metadata: Mapping[str, MetadataValue]
    types: Mapping[str, ValueType]
    """Of the metadata, key by key."""
    vocabulary: str | None
    """A hash of all tokens' texts in their order, less the padding; None when there are none."""
    tensors: tuple[GgufTensor, ...]
    alignment: int
    data_offset: int
    """Where the tensor data starts in the file; behind the end when there are no tensors, perhaps."""
    file_bytes: int
    modified_at: int
    """Unix seconds."""

    def text(self, key: str) -> str | None:
        """Return the string under `key`; None when there is none."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def integer(self, key: str) -> int | None:
        """Return the integer under `key`; None when there is none."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_gguf_header(path: Path) -> GgufHeader:
    """Read and check the header of one file. Takes tens of milliseconds for a large vocabulary.

    Raises:
        GgufHeaderError: for every way in which the file can be bad, unreadable included.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would block for ever
            msg = "is not a regular file"
            raise GgufHeaderError(msg)
        with path.open("rb") as file:
            return _header(file, os.fstat(file.fileno()))
    except OSError as error:
        raise GgufHeaderError(f"cannot be read: {error.strerror or error}") from error


def _header(file: BinaryIO, status: os.stat_result) -> GgufHeader:
    cursor = HeaderCursor(file, status.st_size)
    version = _version(cursor)
    tensor_count = _count(cursor, "tensors", _TENSORS_LIMIT)
    key_count = _count(cursor, "metadata keys", _KEYS_LIMIT)
    entries = _entries(cursor, key_count)
    alignment = _alignment(entries.get(_ALIGNMENT))
    tensors = _tensors(cursor, tensor_count)
    header = GgufHeader(
        version=version,
        metadata=MappingProxyType({key: entry.value for key, entry in entries.items()}),
        types=MappingProxyType({key: entry.type for key, entry in entries.items()}),
        vocabulary=_vocabulary(cursor, entries.get(_VOCABULARY)),
        tensors=tensors,
        alignment=alignment,
        data_offset=-(-cursor.position // alignment) * alignment,
        file_bytes=status.st_size,
        modified_at=int(status.st_mtime),
    )
    _check_extents(header)
    return header


def _version(cursor: HeaderCursor) -> int:
    magic = cursor.take(len(_MAGIC))
    if magic != _MAGIC:
        raise GgufHeaderError(f"is not a GGUF file: it starts with {magic!r}")
    version = int(cursor.number(_UINT32))
    if version and not version & 0xFFFF:
        msg = "is a big-endian GGUF file; this machine needs the little-endian one"
        raise GgufHeaderError(msg)
    if version not in _VERSIONS:
        raise GgufHeaderError(f"has GGUF version {version}; versions 2 and 3 are known")
    return version


def _count(cursor: HeaderCursor, what: str, limit: int) -> int:
    count = cursor.length()
    if count > limit:
        raise GgufHeaderError(f"claims {count} {what}, more than {limit}")
    return count


@attrs.frozen
class _Entry:
    type: ValueType
    value: MetadataValue
    start: int
    """Where the value begins in the file."""
    end: int


def _entries(cursor: HeaderCursor, count: int) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    for index in range(count):
        with within(f"key {index}"):
            key = _name(cursor, _KEY_BYTES)
        with within(f"key '{key}'"):
            if key in entries:
                msg = "appears twice"
                raise GgufHeaderError(msg)
            kind, start = _value_type(cursor), cursor.position
            entries[key] = _Entry(kind, _value(cursor, kind), start, cursor.position)
    return entries


def _name(cursor: HeaderCursor, limit: int) -> str:
    """Read a key or a tensor's name. C cuts a string at its first NUL, so two names could become one there."""
    length = cursor.length()
    if not 0 < length <= limit:
        raise GgufHeaderError(f"has a name of {length} bytes; 1 to {limit} are possible")
    try:
        name = cursor.take(length).decode()
    except UnicodeDecodeError as error:
        msg = "has a name that is not UTF-8"
        raise GgufHeaderError(msg) from error
    if not name.isprintable():
        raise GgufHeaderError(f"has a name with control characters: {name!r}")
    return name


def _value(cursor: HeaderCursor, kind: ValueType) -> MetadataValue:
    if kind is ValueType.STRING:
        return _text(cursor)
    if kind is ValueType.ARRAY:
        return _array(cursor)
    number = cursor.number(SCALARS[kind])
    return _boolean(number) if kind is ValueType.BOOL else number


def _value_type(cursor: HeaderCursor) -> ValueType:
    number = int(cursor.number(_UINT32))
    try:
        return ValueType(number)
    except ValueError:
        raise GgufHeaderError(f"has the unknown value type {number}") from None


def _boolean(number: float) -> bool:
    """Read '1-byte value where 0 is false and 1 is true. Anything else is invalid'."""
    if number not in (0, 1):
        raise GgufHeaderError(f"is a boolean of value {number}")
    return number == 1


def _text(cursor: HeaderCursor) -> str | LongText:
    length = cursor.length()
    if length > _TEXT_BYTES:
        cursor.skip(length)
        return LongText(size_bytes=length)
    return cursor.take(length).decode(errors="replace")


def _array(cursor: HeaderCursor) -> GgufArray:
    """Move behind an array. The format lets arrays nest; llama.cpp does not, nor does any model."""
    kind = _value_type(cursor)
    count = cursor.length()
    if kind is ValueType.ARRAY:
        msg = "is an array of arrays, which llama.cpp cannot read"
        raise GgufHeaderError(msg)
    if kind is ValueType.STRING:
        cursor.skip_strings(count)
    else:
        cursor.skip(count * SCALARS[kind].size)
    return GgufArray(item_type=kind, count=count)


def _alignment(entry: _Entry | None) -> int:
    """'general.alignment: uint32 … must be a multiple of 8'; ggml itself asks for a power of two."""
    if entry is None:
        return _DEFAULT_ALIGNMENT
    if entry.type is not ValueType.UINT32:
        raise GgufHeaderError(f"key '{_ALIGNMENT}': is of the type {entry.type.name}, not UINT32")
    alignment = entry.value
    if not isinstance(alignment, int) or not 0 < alignment <= _ALIGNMENT_LIMIT or alignment & (alignment - 1):
        raise GgufHeaderError(f"key '{_ALIGNMENT}': {alignment} is no power of two up to {_ALIGNMENT_LIMIT}")
    return alignment


def _vocabulary(cursor: HeaderCursor, entry: _Entry | None) -> str | None:
    if entry is None or not isinstance(entry.value, GgufArray) or entry.end - entry.start > _VOCABULARY_BYTES:
        return None
    tokens = cursor.again(entry.start + _ARRAY_HEAD_BYTES, entry.end)
    padding = _PADDING.search(tokens, max(0, len(tokens) - _PADDING_BYTES))
    return hashlib.sha256(tokens[: padding.start()] if padding else tokens).hexdigest()


def _tensors(cursor: HeaderCursor, count: int) -> tuple[GgufTensor, ...]:
    tensors: dict[str, GgufTensor] = {}
    for index in range(count):
        with within(f"tensor {index}"):
            name = _name(cursor, _NAME_BYTES)
        with within(f"tensor '{name}'"):
            if name in tensors:
                msg = "appears twice"
                raise GgufHeaderError(msg)
            tensors[name] = _tensor(cursor, name)
    return tuple(tensors.values())


def _tensor(cursor: HeaderCursor, name: str) -> GgufTensor:
    shape = _shape(cursor)
    number = int(cursor.number(_UINT32))
    kind = TENSOR_TYPES.get(number)
    if kind is None:
        raise GgufHeaderError(f"has the unknown type {number}")
    if shape[0] % kind.block_weights:
        raise GgufHeaderError(f"has rows of {shape[0]} weights, no multiple of {kind.name}'s {kind.block_weights}")
    return GgufTensor(name=name, shape=shape, type=kind, offset=cursor.length())


def _shape(cursor: HeaderCursor) -> tuple[int, ...]:
    dimensions = int(cursor.number(_UINT32))
    if not 0 < dimensions <= _DIMENSIONS:
        raise GgufHeaderError(f"has {dimensions} dimensions; 1 to {_DIMENSIONS} are possible")
    shape = tuple(cursor.length() for _ in range(dimensions))
    if not all(shape):
        raise GgufHeaderError(f"has an empty dimension: {_by(shape)}")
    if math.prod(shape) > _INT64_MAX:
        raise GgufHeaderError(f"overflows with the dimensions {_by(shape)}")
    return shape


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(str(extent) for extent in shape)


def _check_extents(header: GgufHeader) -> None:
    """Hold every tensor's bytes against the end of the file, and against the tensor before it.

    In another server the lack of the first was CVE-2026-7482. The second is ggml's own rule: its tensors lie one behind
    the other in the order of their names, without overlap or gap but for the alignment.
    """
    expected = 0
    for tensor in header.tensors:
        with within(f"tensor '{tensor.name}'"):
            if tensor.offset % header.alignment:
                raise GgufHeaderError(f"starts at {tensor.offset}, no multiple of the alignment {header.alignment}")
            end = header.data_offset + tensor.offset + tensor.size_bytes
            if end > header.file_bytes:
                raise GgufHeaderError(f"ends at {end} beyond the file's {header.file_bytes} bytes")
            if tensor.offset != expected:
                raise GgufHeaderError(f"starts at {tensor.offset}, and not at {expected}, behind the one before it")
        expected += -(-tensor.size_bytes // header.alignment) * header.alignment
