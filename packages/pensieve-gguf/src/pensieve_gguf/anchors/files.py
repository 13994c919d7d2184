"""Anchor files: written whole or not at all, read with suspicion.

Between `format`, which knows the bytes, and `folder`, which knows the names.
"""

from __future__ import annotations

import mmap
import os
from array import array
from collections.abc import Callable, Iterator
from io import FileIO
from typing import TypeAlias

import attrs
import numpy as np

from pensieve_gguf.anchors.folder import PrivateFolder
from pensieve_gguf.anchors.format import (
    HEADER_BYTES,
    Header,
    NotAnAnchorError,
    checksum_of,
    expect,
    prefix_digest,
    verified_tokens,
)
from pensieve_gguf.anchors.index import Anchor

__all__ = ["CancelledError", "State", "anchor_names", "found_anchors", "read_head", "read_state", "write_anchor"]

State: TypeAlias = np.ndarray[tuple[int], np.dtype[np.uint8]]
"""A sequence's state as llama.cpp gave it, shape (n_bytes,)."""

_CHUNK_BYTES = 4 << 20
"""What is read, hashed or written at once: other threads wait for no more of it than a millisecond."""


class CancelledError(Exception):
    """The write was given up because somebody asked for it."""


@attrs.frozen(kw_only=True)
class Head:
    """The beginning of a file that is whole as far as its size, its header and its tokens tell."""

    header: Header
    tokens: array[int]


def write_anchor(
    folder: PrivateFolder, header: Header, tokens: array[int], state: memoryview, cancelled: Callable[[], bool]
) -> None:
    """Write a file and wait until it is durable, under its own name. On any error nothing of it is left.

    Raises:
        OSError: the disk is full or broken.
        CancelledError: `cancelled` said so, between two chunks.
    """
    head = attrs.evolve(header, checksum=checksum_of(_chunks(state))).encode(tokens)
    with folder.draft() as (draft, handle):
        folder.write(handle, memoryview(head))
        for chunk in _chunks(state):
            if cancelled():
                raise CancelledError
            folder.write(handle, chunk)
        folder.touch(draft, header.created_at)
        folder.seal(handle)
        folder.publish(draft, header.name)
    folder.settle()


def read_head(folder: PrivateFolder, name: str) -> Head:
    """Return the header and the tokens of a file that bears the name that they say.

    Raises:
        NotAnAnchorError: it is torn, or belongs elsewhere.
        OSError: it cannot be read, or is gone.
    """
    with folder.read(name) as file:
        return _head(file, name)


def read_state(folder: PrivateFolder, name: str, identity: bytes, tokens: array[int]) -> State:
    """Return the state of a file that holds exactly `tokens` and is of `identity`.

    Raises:
        NotAnAnchorError: it is torn, or of others.
        OSError: it cannot be read, is gone, or there is no memory for it.
    """
    with folder.read(name) as file:
        head = _head(file, name)
        expect(head.header.identity == identity, "it is another model's")
        expect(head.tokens == tokens, "it is another prompt's")
        state = _fresh_memory(head.header.state_bytes)
        expect(checksum_of(_read_into(file, state.data)) == head.header.checksum, "the checksum of its state is wrong")
    return state


def anchor_names(folder: PrivateFolder) -> set[str]:
    """Return the names of all files that look like anchors."""
    return {name for name in folder.names() if name.endswith(".anchor")}


def found_anchors(folder: PrivateFolder, names: set[str]) -> Iterator[Anchor]:
    """Yield what the files `names` say of themselves; torn ones are removed, those of a later Pensieve left alone."""
    for name in sorted(names):
        try:
            head, facts = read_head(folder, name), folder.facts(name)
        except NotAnAnchorError as error:
            if not error.newer:
                folder.remove(name)
        except OSError:  # gone, a link, or not to be read today
            continue
        else:
            yield Anchor.of(head.header, head.tokens, head.header.created_at if facts is None else facts.st_mtime)


def _fresh_memory(size: int) -> State:
    """Return memory in small pages: numpy asks for huge ones, and their first touch cost four times as much (ADR 6)."""
    return np.frombuffer(mmap.mmap(-1, size), np.uint8)


def _head(file: FileIO, name: str) -> Head:
    fields = _read(file, HEADER_BYTES)
    header = Header.decode(fields)
    # Before a lie about sizes can cost memory.
    expect(os.fstat(file.fileno()).st_size == header.file_bytes, "its size is wrong")
    tokens = verified_tokens(fields + _read(file, header.state_offset - HEADER_BYTES))
    expect(prefix_digest(tokens) == header.prefix and header.name == name, "it bears another's name")
    return Head(header=header, tokens=tokens)


def _read(file: FileIO, size: int) -> bytes:
    data = bytearray(size)
    return b"".join(_read_into(file, memoryview(data)))


def _read_into(file: FileIO, target: memoryview) -> Iterator[memoryview]:
    """Fill `target` and yield what was read of it; less when the file ends before."""
    for chunk in _chunks(target):
        done = 0
        while done < len(chunk) and (count := file.readinto(chunk[done:])):
            done += count
        yield chunk[:done]


def _chunks(data: memoryview) -> Iterator[memoryview]:
    return (data[start : start + _CHUNK_BYTES] for start in range(0, len(data), _CHUNK_BYTES))
