"""The bytes of an anchor file. Pure: bytes in, values out; who reads and writes them is `files`.

    offset                   bytes       what
    0                        264         header: see `_HEADER`; at its end a checksum of it and of the tokens
    264                      4 * length  token ids, int32
    264 + 4 * length         state_bytes the state, opaque

Little-endian. A file has exactly this size: what is shorter or longer is torn.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from array import array
from collections.abc import Iterable, Iterator

import attrs
import xxhash

__all__ = [
    "HEADER_BYTES",
    "AnchorKind",
    "Header",
    "NotAnAnchorError",
    "checksum_of",
    "chunk_digests",
    "expect",
    "prefix_digest",
    "prefix_digests",
    "shared_at_most",
    "verified_tokens",
]

_MAGIC = b"PNSVANCH"
_VERSION = 1
# magic, version, kind, length, state_bytes, created_at, identity, prefix, conversation, state checksum, label
_HEADER = struct.Struct("<8sIIQQd32s16s16s16s128s")
_CHECKSUM_BYTES = 16
HEADER_BYTES = _HEADER.size + _CHECKSUM_BYTES
_LABEL_BYTES = 128
_TOKEN_BYTES = 4
_CHUNK_TOKENS = 256
_CHUNK_DIGEST_BYTES = 8


class AnchorKind(enum.IntEnum):
    """What a prefix is the prefix of. The numbers are on disk."""

    HEAD = 1
    """Tools and system text: what many conversations begin with."""
    TURN = 2
    """One conversation, up to the end of a turn; the next one replaces it."""


class NotAnAnchorError(Exception):
    """These bytes are no anchor, or no longer a whole one."""

    def __init__(self, reason: str, *, newer: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.newer = newer
        """A later Pensieve wrote it: not to be read here, and not ours to remove."""


@attrs.frozen(kw_only=True)
class Header:
    """All that a file says of itself before its tokens and its state."""

    kind: AnchorKind
    length: int
    """Tokens."""
    state_bytes: int
    created_at: float
    """Unix seconds."""
    identity: bytes
    """32 bytes: `AnchorIdentity.digest`."""
    prefix: bytes
    """16 bytes: `prefix_digest` of the tokens."""
    conversation: bytes
    """16 bytes: whose turn it is."""
    checksum: bytes
    """16 bytes: `checksum_of` the state."""
    label: str

    @property
    def name(self) -> str:
        """The file's name: the same identity and tokens have the same one, so that none is kept twice."""
        return hashlib.blake2b(self.identity + self.prefix, digest_size=20).hexdigest() + ".anchor"

    @property
    def state_offset(self) -> int:
        """Where the state begins."""
        return HEADER_BYTES + _TOKEN_BYTES * self.length

    @property
    def file_bytes(self) -> int:
        """The size of the whole file."""
        return self.state_offset + self.state_bytes

    def encode(self, tokens: array[int]) -> bytes:
        """Return all bytes before the state."""
        fields = _HEADER.pack(
            _MAGIC,
            _VERSION,
            self.kind,
            self.length,
            self.state_bytes,
            self.created_at,
            self.identity,
            self.prefix,
            self.conversation,
            self.checksum,
            self.label.encode()[:_LABEL_BYTES],
        )
        ids = tokens.tobytes()
        return fields + checksum_of([fields, ids]) + ids

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """Read a header. What it says is a claim until `verified_tokens` has seen the tokens.

        Raises:
            NotAnAnchorError: it is none.
        """
        expect(len(data) == HEADER_BYTES and data.startswith(_MAGIC), "it has no header")
        _, version, kind, length, state_bytes, created_at, *digests, label = _HEADER.unpack_from(data)
        if version != _VERSION:
            raise NotAnAnchorError(f"its format is {version}, not {_VERSION}", newer=version > _VERSION)
        expect(kind in set(AnchorKind), "its kind is unknown")
        expect(length and state_bytes, "it is empty")
        identity, prefix, conversation, checksum = digests
        return cls(
            kind=AnchorKind(kind),
            length=length,
            state_bytes=state_bytes,
            created_at=created_at,
            identity=identity,
            prefix=prefix,
            conversation=conversation,
            checksum=checksum,
            label=label.rstrip(b"\0").decode("utf-8", "replace"),
        )


def expect(truth: object, reason: str) -> None:
    """Raise `NotAnAnchorError(reason)` unless `truth`."""
    if not truth:
        raise NotAnAnchorError(reason)


def verified_tokens(data: bytes) -> array[int]:
    """Return the tokens out of `data`, a header and its tokens, after a look at the header's checksum.

    Raises:
        NotAnAnchorError: they are not what was written.
    """
    fields, told, ids = data[: _HEADER.size], data[_HEADER.size : HEADER_BYTES], data[HEADER_BYTES:]
    expect(checksum_of([fields, ids]) == told, "the checksum of its header and tokens is wrong")
    return array("i", ids)


def checksum_of(parts: Iterable[bytes | memoryview]) -> bytes:
    """Return 16 bytes of XXH3 over `parts`: it finds what a crash or a disk did, not what an enemy does."""
    checksum = xxhash.xxh3_128()
    for part in parts:
        checksum.update(part)
    return checksum.digest()


def prefix_digest(tokens: array[int]) -> bytes:
    """Return the 16 bytes that stand for exactly these tokens."""
    return next(digest for _, digest in prefix_digests(tokens, [len(tokens)]))


def prefix_digests(tokens: array[int], lengths: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Yield length and digest of the prefixes of `tokens` at `lengths`, which ascend; each token is hashed once."""
    data, done = memoryview(tokens).cast("B"), 0
    running = hashlib.blake2b(digest_size=16)
    for length in lengths:
        running.update(data[_TOKEN_BYTES * done : _TOKEN_BYTES * length])
        done = length
        yield length, running.copy().digest()


def chunk_digests(tokens: array[int]) -> bytes:
    """Return 8 bytes for each whole chunk of 256 tokens, in order: what begins alike sorts side by side."""
    data, size = memoryview(tokens).cast("B"), _TOKEN_BYTES * _CHUNK_TOKENS
    chunks = (data[start : start + size] for start in range(0, len(data) - size + 1, size))
    return b"".join(xxhash.xxh3_64_digest(chunk) for chunk in chunks)


def shared_at_most(left: bytes, right: bytes) -> int:
    """Return how many tokens two prefixes may begin with alike, as far as their `chunk_digests` tell; 0: under 256."""
    size = _CHUNK_DIGEST_BYTES
    starts = range(0, min(len(left), len(right)), size)
    alike = next((start for start in starts if left[start : start + size] != right[start : start + size]), None)
    chunks = min(len(left), len(right)) // size if alike is None else alike // size
    return (chunks + 1) * _CHUNK_TOKENS - 1 if chunks else 0
