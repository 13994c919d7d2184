"""Writing GGUF byte by byte, so that a test can also write what no sane tool would.

    (tmp_path / "tiny.gguf").write_bytes(chat_model().encode())
    attrs.evolve(chat_model(), version=1).encode()

It shares only the tables of `_format` with the reader; the tests hold it against the `gguf` package's reader.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

from pensieve_registry._format import SCALARS, TENSOR_TYPES, ValueType

__all__ = ["GgufDraft", "chat_model", "key", "string", "tensor", "write_chat_model"]

Value: TypeAlias = bool | int | float | str | Sequence[str]


@attrs.frozen(kw_only=True)
class GgufDraft:
    """A file in the making: encoded pieces, and counts that may lie."""

    magic: bytes = b"GGUF"
    version: int = 3
    keys: tuple[bytes, ...] = ()
    tensors: tuple[bytes, ...] = ()
    key_count: int | None = None
    """None: the truth."""
    tensor_count: int | None = None
    alignment: int = 32
    data: bytes = b""

    def encode(self) -> bytes:
        """Return the file."""
        key_count = len(self.keys) if self.key_count is None else self.key_count
        tensor_count = len(self.tensors) if self.tensor_count is None else self.tensor_count
        head = self.magic + struct.pack("<IQQ", self.version, tensor_count, key_count)
        head += b"".join([*self.keys, *self.tensors])
        return head + bytes(-len(head) % self.alignment) + self.data


def string(text: str | bytes) -> bytes:
    """Return a string as GGUF writes it: its length, then its bytes."""
    encoded = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(encoded)) + encoded


def key(name: str | bytes, value: Value, kind: ValueType | None = None) -> bytes:
    """Return one entry of the metadata; `kind` None: UINT32, FLOAT32, BOOL, STRING or an array of STRING."""
    kind = _kind(value) if kind is None else kind
    return string(name) + struct.pack("<I", kind) + _payload(value, kind)


def tensor(name: str | bytes, shape: Sequence[int], *, kind: int = 0, offset: int = 0) -> bytes:
    """Return one tensor's description; `kind` is a `ggml_type`, 0 being F32."""
    return string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def chat_model(
    metadata: Mapping[str, Value] | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    kind: int = 0,
) -> GgufDraft:
    """Return a model that passes every check and has no sense in it.

    `metadata` is put over what is there by default, a llama of 2048 tokens; `shapes` are those of the tensors, all of
    them of the `ggml_type` `kind`.
    """
    shapes = shapes or {"token_embd.weight": (32, 8), "output.weight": (32, 8)}
    default: dict[str, Value] = {"general.architecture": "llama", "llama.context_length": 2048}
    offsets, data_bytes = _layout(shapes, kind)
    return GgufDraft(
        keys=tuple(key(name, value) for name, value in {**default, **(metadata or {})}.items()),
        tensors=tuple(tensor(name, shape, kind=kind, offset=offsets[name]) for name, shape in shapes.items()),
        data=bytes(data_bytes),
    )


def write_chat_model(
    path: Path,
    metadata: Mapping[str, Value] | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Path:
    """Write `chat_model` to `path`, with the folders that it needs, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(chat_model(metadata, shapes=shapes).encode())
    return path


def _kind(value: Value) -> ValueType:
    match value:
        case bool():
            return ValueType.BOOL
        case int():
            return ValueType.UINT32
        case float():
            return ValueType.FLOAT32
        case str():
            return ValueType.STRING
        case _:
            return ValueType.ARRAY


def _payload(value: Value, kind: ValueType) -> bytes:
    if isinstance(value, str):
        return string(value)
    if isinstance(value, bool | int | float):
        return SCALARS[kind].pack(value)
    return struct.pack("<IQ", ValueType.STRING, len(value)) + b"".join(map(string, value))


def _layout(shapes: Mapping[str, Sequence[int]], kind: int) -> tuple[dict[str, int], int]:
    """Return where each tensor starts, one behind the other at multiples of 32, and how long all are."""
    packing = TENSOR_TYPES[kind]
    offsets, end = {}, 0
    for name, shape in shapes.items():
        offsets[name] = end
        size = math.prod(shape) // packing.block_weights * packing.block_bytes
        end += -(-size // 32) * 32
    return offsets, end
