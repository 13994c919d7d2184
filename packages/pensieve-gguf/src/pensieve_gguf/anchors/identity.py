"""What makes a saved state meaningful, and the digest of it all. Values; reads the model's files and no others.

A state is a copy of llama.cpp's KV cells. It means something to the same weights, read by the same code, with cells of
the same shape, and to nobody else; nothing in it says so, and llama.cpp would take a foreign one in. So all of this
goes into one digest, which an anchor carries and which is compared before a byte of the state is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import attrs
import orjson

__all__ = ["AnchorIdentity", "fingerprint"]

_EDGE_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 12
_SAMPLES = 256


@attrs.frozen(kw_only=True)
class AnchorIdentity:
    """All that a state depends on besides its tokens. Two that differ in any field but `label` never share a state."""

    label: str = attrs.field(default="", eq=False)
    """The model's name, for people (`pensieve-server cache list`). Not part of the digest."""
    model: str
    """`fingerprint` of the model's files, all shards."""
    build: str
    """llama.cpp's commit, or its version and the `fingerprint` of its libraries."""
    state_version: int
    """`LLAMA_STATE_SEQ_VERSION`."""
    key_type: str
    value_type: str
    """Types of the cached keys and values: "f16", "q8_0"…"""
    flash_attention: bool
    """Without it the values lie transposed."""
    rope: str = ""
    """Rope and YaRN settings, where they are not the model's own; in any spelling that is always the same."""
    lora: tuple[str, ...] = ()
    """`fingerprint` and scale of each adapter, in order."""
    layout: str = ""
    """What else shapes the cells: sliding windows kept whole, one cache for all sequences…"""

    @property
    def digest(self) -> bytes:
        """32 bytes that stand for all fields but the label."""
        fields = attrs.asdict(self, filter=lambda field, _: field.name != "label")
        return hashlib.blake2b(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS), digest_size=32).digest()


def fingerprint(files: Sequence[Path]) -> str:
    """Return a digest of `files` that costs milliseconds, whatever their size.

    Of each file: its size, its time of change, the first and last megabyte (a GGUF's metadata and tensor infos begin
    there) and 256 samples of 4 KiB in between: two fine-tunings of one model may have equal headers and sizes. The
    time catches what an editor changed between the samples; a copy with a new time is computed once more, no worse.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=32)
    for path in files:
        with path.open("rb") as file:
            for part in _telling_parts(path, file):
                digest.update(len(part).to_bytes(8, "little"))
                digest.update(part)
    return digest.hexdigest()


def _telling_parts(path: Path, file: BinaryIO) -> Iterator[bytes]:
    stat = path.stat()
    yield f"{stat.st_size} {stat.st_mtime_ns}".encode()
    yield file.read(_EDGE_BYTES)
    if stat.st_size <= _EDGE_BYTES:
        return
    step = max(_SAMPLE_BYTES, stat.st_size // _SAMPLES)
    for offset in range(_EDGE_BYTES, stat.st_size, step):
        file.seek(offset)
        yield file.read(_SAMPLE_BYTES)
    file.seek(max(0, stat.st_size - _EDGE_BYTES))
    yield file.read(_EDGE_BYTES)
