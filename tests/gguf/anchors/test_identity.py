"""A fingerprint differs whenever the files could mean something else, and costs milliseconds."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pensieve_gguf.anchors import AnchorIdentity, fingerprint

SIZE = 8 << 20


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(bytes(SIZE))
    return path


def _keeping_time(path: Path, data: bytes) -> None:
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_the_same_files_have_the_same_fingerprint_wherever_they_lie(model: Path, tmp_path: Path) -> None:
    before = fingerprint([model])
    assert fingerprint([model.rename(tmp_path / "moved.gguf")]) == before


@pytest.mark.parametrize("offset", [0, 1 << 19, (1 << 20) + 5, SIZE - 1])
def test_a_changed_byte_at_the_edges_or_in_a_sample_is_seen(model: Path, offset: int) -> None:
    before = fingerprint([model])
    data = bytearray(SIZE)
    data[offset] = 1
    _keeping_time(model, bytes(data))
    assert fingerprint([model]) != before


def test_other_weights_of_the_same_size_under_the_same_header_are_seen(model: Path) -> None:
    """Two fine-tunings: what differs are the tensors in the middle, one in twenty of their bytes."""
    before = fingerprint([model])
    middle = (bytes(19 << 10) + b"\1" * (1 << 10)) * ((SIZE - (2 << 20)) // (20 << 10))
    _keeping_time(model, bytes(1 << 20) + middle.ljust(SIZE - (2 << 20), b"\0") + bytes(1 << 20))
    assert fingerprint([model]) != before


def test_an_edit_between_the_samples_is_seen_by_its_time(model: Path) -> None:
    before = fingerprint([model])
    os.utime(model, (1, 1))
    assert fingerprint([model]) != before


def test_size_and_order_of_shards_count(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(bytes(SIZE + 1))
    os.utime(other, ns=(1, model.stat().st_mtime_ns))
    prints = {fingerprint(files) for files in ([model], [other], [model, other], [other, model], [model, model], [])}
    assert len(prints) == 6


def test_small_files_are_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "adapter.gguf"
    path.write_bytes(b"a")
    before = fingerprint([path])
    _keeping_time(path, b"b")
    assert fingerprint([path]) != before


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fingerprint([tmp_path / "gone"])


@given(first=st.text(), second=st.text())
@settings(max_examples=50)
def test_fields_do_not_run_into_each_other(first: str, second: str) -> None:
    base = AnchorIdentity(
        model="m", build="b", state_version=1, key_type="f16", value_type="f16", flash_attention=False
    )
    left = attrs.evolve(base, rope=first, layout=second)
    right = attrs.evolve(base, rope=first + second, layout="")
    assert (left.digest == right.digest) == (second == "")
    assert len(left.digest) == 32
