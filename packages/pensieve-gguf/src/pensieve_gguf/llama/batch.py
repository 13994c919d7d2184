"""Rows of a decode, and how they are laid out for llama.cpp. Every index is checked here, as `context` promises."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence

import attrs
from llama_cpp import llama_cpp as lib

from pensieve_gguf.llama.projector import Embeddings

__all__ = ["Batch", "Rows"]


@attrs.frozen(kw_only=True)
class Rows:
    """Consecutive tokens of one sequence in a batch."""

    slot: int
    """The llama.cpp sequence id."""
    start: int
    """Position of the first token."""
    tokens: array[int]
    """Token ids, of type "i"."""
    wants_logits: bool
    """Whether the last row is to be sampled."""
    drafted: int = 0
    """So many of the last tokens are guessed: the row before them is to be sampled, too, and so is each of theirs."""
    embeddings: Embeddings | None = None
    """What is computed in place of `tokens`, one for each: a part of an image. Such rows are not sampled."""


class Batch:
    """A `llama_batch` over arrays that are allocated once: filling 512 rows costs 5 µs, not 246 (design 2).

    Plain arrays under memoryviews: for the one row of a decode numpy costs ten times as much.
    """

    def __init__(self, capacity: int, cells: int) -> None:
        self._capacity = capacity
        self._naturals = memoryview(array("i", range(cells)))
        """0, 1, 2, …: where positions are copied from."""
        tokens, positions, slots = (array("i", bytes(4 * capacity)) for _ in range(3))
        counts, wanted = array("i", [1]) * capacity, bytearray(capacity)
        self._tokens, self._positions, self._slots = memoryview(tokens), memoryview(positions), memoryview(slots)
        self._wanted = memoryview(wanted)
        first = _address(slots)
        self._alive = (counts, slot_pointers := array("Q", range(first, first + 4 * capacity, 4)))
        self.struct = lib.llama_batch(
            n_tokens=0,
            token=_pointer(tokens, lib.llama_token),
            pos=_pointer(positions, lib.llama_pos),
            n_seq_id=_pointer(counts, ctypes.c_int32),
            seq_id=_pointer(slot_pointers, ctypes.POINTER(lib.llama_seq_id)),
            logits=_pointer(wanted, ctypes.c_int8),
        )
        self.embedded = lib.llama_batch(
            n_tokens=0,
            pos=self.struct.pos,
            n_seq_id=self.struct.n_seq_id,
            seq_id=self.struct.seq_id,
            logits=self.struct.logits,
        )

    def fill_embedded(self, row: Rows, slots: int) -> None:
        """Let `embedded` hold the one `row`, until the next is filled in.

        Raises:
            IndexError: llama.cpp would abort, or read what is not there.
        """
        count = len(row.tokens)
        # Whatever numbers stand for an image, none of them is looked up in a vocabulary.
        placed = attrs.evolve(row, tokens=array("i", bytes(4 * count)))
        _check(placed, count <= self._capacity, slots, len(self._naturals), 1)
        if row.embeddings is None or len(row.embeddings) != count or not row.embeddings.flags.c_contiguous:
            msg = f"{count} tokens want as many embeddings, in one piece"
            raise IndexError(msg)
        self._positions[:count] = self._naturals[row.start : row.start + count]
        self._slots[:count] = array("i", [row.slot]) * count
        self._wanted[:count] = bytes(count)
        self.embedded.n_tokens = count
        self.embedded.embd = row.embeddings.ctypes.data_as(ctypes.POINTER(ctypes.c_float))

    def fill(self, rows: Sequence[Rows], slots: int, vocabulary: int) -> list[int]:
        """Let `struct` hold `rows`, until the next are filled in; return the batch index of the last token of each."""
        last: list[int] = []
        end = 0
        for row in rows:
            count = len(row.tokens)
            start, end = end, end + count
            _check(row, end <= self._capacity, slots, len(self._naturals), vocabulary)
            last.append(end - 1)
            if count == 1:  # as in nearly every decode: a slice costs three times an item
                self._tokens[start], self._positions[start] = row.tokens[0], row.start
                self._slots[start], self._wanted[start] = row.slot, row.wants_logits
                continue
            self._tokens[start:end] = row.tokens
            self._positions[start:end] = self._naturals[row.start : row.start + count]
            self._slots[start:end] = array("i", [row.slot]) * count
            self._wanted[start:end] = bytes(count)
            if row.wants_logits:
                self._wanted[end - 1 - row.drafted : end] = b"\x01" * (1 + row.drafted)
        if end == 0:
            msg = "an empty batch"
            raise IndexError(msg)
        self.struct.n_tokens = end
        return last


def _check(row: Rows, fits: bool, slots: int, cells: int, vocabulary: int) -> None:  # noqa: FBT001 - one of many
    inside = 0 <= row.drafted < len(row.tokens) and row.start >= 0 and row.start + len(row.tokens) <= cells
    if not fits or not inside or not 0 <= row.slot < slots:
        msg = f"rows out of bounds: slot {row.slot}, {len(row.tokens)} tokens at {row.start}"
        raise IndexError(msg)
    if min(row.tokens) < 0 or max(row.tokens) >= vocabulary:
        msg = f"a token that is not in the vocabulary of {vocabulary}"
        raise IndexError(msg)


def _address(buffer: array[int] | bytearray) -> int:
    return ctypes.addressof((ctypes.c_char * 1).from_buffer(buffer))


def _pointer(buffer: array[int] | bytearray, kind: type) -> ctypes._Pointer:  # type: ignore[type-arg]
    return ctypes.cast(_address(buffer), ctypes.POINTER(kind))
