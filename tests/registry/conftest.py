"""Our reader against the `gguf` package, which llama.cpp's own converters use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import gguf
from pensieve_registry import GgufArray, GgufHeader, LongText, MetadataValue, ValueType

LONG_TEXT_BYTES = 2**20


def _fields(reader: gguf.GGUFReader) -> Mapping[str, gguf.ReaderField]:
    return {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}


def _measured(field: gguf.ReaderField) -> MetadataValue | None:
    """Return what our reader makes of a value: arrays and long texts are measured, the rest is kept."""
    kind = field.types[0]
    if kind == gguf.GGUFValueType.ARRAY:
        empty = len(field.types) == 1  # then the package forgets of what
        return None if empty else GgufArray(item_type=ValueType(field.types[-1]), count=len(field.data))
    if kind == gguf.GGUFValueType.STRING:
        encoded = bytes(field.parts[-1])
        return LongText(size_bytes=len(encoded)) if len(encoded) > LONG_TEXT_BYTES else encoded.decode(errors="replace")
    value: MetadataValue = field.contents()
    return None if isinstance(value, float) and math.isnan(value) else value


def _comparable(value: MetadataValue) -> MetadataValue | None:
    """Return None for the two values of which `_measured` says nothing."""
    if isinstance(value, GgufArray) and not value.count:
        return None
    return None if isinstance(value, float) and math.isnan(value) else value


def _hold_against_gguf(header: GgufHeader, path: Path) -> None:
    """Hold everything that both readers tell of a file against each other."""
    reader = gguf.GGUFReader(path)
    fields = _fields(reader)
    assert {key: _comparable(value) for key, value in header.metadata.items()} == {
        key: _measured(field) for key, field in fields.items()
    }
    assert {key: kind.value for key, kind in header.types.items()} == {
        key: field.types[0].value for key, field in fields.items()
    }
    assert (header.alignment, header.data_offset) == (reader.alignment, reader.data_offset)
    ours = [
        (t.name, t.shape, t.type.name, t.weights, t.size_bytes, header.data_offset + t.offset) for t in header.tensors
    ]
    theirs = [
        (t.name, tuple(map(int, t.shape)), t.tensor_type.name, int(t.n_elements), int(t.n_bytes), int(t.data_offset))
        for t in reader.tensors
    ]
    assert ours == theirs


@pytest.fixture(scope="session")
def assert_agrees() -> Callable[[GgufHeader, Path], None]:
    """Asserts that a header is what the `gguf` package reads out of the same file."""
    return _hold_against_gguf
