"""Prefixes that outlive the process: saved once, found again by their exact token ids.

    longest(tokens) -> Anchor          the index says so: hashes at the lengths that are kept
    akin(tokens) -> Anchors            likewise: hashes of chunks, for those that only begin alike
    load(anchor, tokens) -> state      the file says so: identity, token ids, checksum
    save(tokens, state) -> outcome     written once, whole, within budgets; off the hot path: see `writer`

No method raises what a disk or another process can do; the log tells it.
Knows nothing of llama.cpp: a state is bytes. Any number of stores, in any number of processes, may share a folder, and
any thread may call. The rules are in `policy`, the bytes in `format`; docs/adr/0006 says why.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import hashlib
import sqlite3
from array import array
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import TypeVar

import structlog

from pensieve_gguf.anchors.files import (
    CancelledError,
    State,
    anchor_names,
    found_anchors,
    read_head,
    read_state,
    write_anchor,
)
from pensieve_gguf.anchors.folder import FolderRefusedError, PrivateFolder
from pensieve_gguf.anchors.format import (
    AnchorKind,
    Header,
    NotAnAnchorError,
    chunk_digests,
    prefix_digest,
    prefix_digests,
    shared_at_most,
)
from pensieve_gguf.anchors.identity import AnchorIdentity
from pensieve_gguf.anchors.index import Anchor, Index
from pensieve_gguf.anchors.policy import Limits, victims

__all__ = ["AnchorStore", "Saved"]

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")
_FAULTS = (OSError, sqlite3.Error, MemoryError)
_UNKNOWN_YET = bytes(16)
_EXPECTED = 8
_NOBODYS = hashlib.blake2b(b"", digest_size=16).digest()
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Saved(enum.Enum):
    """What became of a state that was to be saved."""

    SAVED = "saved"
    KNOWN = "known"
    """It, or one that differs by a few tokens, is there already; as nothing always is."""
    WRITTEN_ENOUGH = "written_enough"
    """The hour's budget is spent."""
    NO_ROOM = "no_room"
    """The budget or the disk does not hold it."""
    CANCELLED = "cancelled"
    FAILED = "failed"
    """The disk or the index refused; the log says why."""


class AnchorStore:
    """The anchors of one identity in one folder. Use `open`.

    Args:
        folder: Closed by `close`.
        identity: Only its anchors are found; those of others count against the same budget.
        limits: How much may be kept and written.
        clock: Unix seconds (`Clock.time`), for uses and budgets outlive the process.

    Raises:
        OSError, sqlite3.Error: the folder cannot be used.
    """

    def __init__(
        self, folder: PrivateFolder, identity: AnchorIdentity, *, limits: Limits, clock: Callable[[], float]
    ) -> None:
        self._folder = folder
        self._identity = identity.digest
        self._label = identity.label
        self._limits = limits
        self._clock = clock
        self._index = Index(folder, lambda: found_anchors(folder, anchor_names(folder)))
        with contextlib.ExitStack() as undo:
            undo.callback(self._index.close)
            self._reconcile()
            undo.pop_all()

    @classmethod
    def open(
        cls, path: Path, identity: AnchorIdentity, *, limits: Limits, clock: Callable[[], float]
    ) -> AnchorStore | None:
        """Open the folder at `path`, and tidy it up.

        Returns:
            None: there is no disk tier. Either it is switched off (a budget of 0), or the folder cannot be used (it
            is read-only, another's, a link…); then one warning says so.
        """
        if limits.budget_bytes == 0:
            return None
        try:
            with contextlib.ExitStack() as undo:
                folder = PrivateFolder.open(path)
                undo.callback(folder.close)
                store = cls(folder, identity, limits=limits, clock=clock)
                undo.pop_all()
        except (OSError, sqlite3.Error, FolderRefusedError) as error:
            _log.warning("anchors_disabled", folder=str(path), reason=str(error))
            return None
        return store

    def close(self) -> None:
        """Close index and folder. A write that still runs fails, and leaves nothing behind that counts."""
        self._index.close()
        self._folder.close()

    # -- finding -------------------------------------------------------------------------------------------------

    def longest(self, tokens: array[int], *, at_least: int = 1) -> Anchor | None:
        """Return the longest anchor of at least so many tokens that `tokens` begin with, as far as the index knows.

        A caller that must compute one token itself passes all but the last.
        Half a millisecond for 24,000 tokens and 300 anchors.
        """
        try:
            return next(iter(self._prefixes(tokens, at_least, most=1)), None)
        except _FAULTS as fault:
            _told("search", fault)
            return None

    def akin(self, chunks: bytes, most: int) -> list[Anchor]:
        """Return anchors that begin as `chunks` (`chunk_digests`) do, as far as the index knows; up to twice `most`.

        Those that agree with the most chunks are among them; `tokens_of` says in which token they part.
        """
        try:
            return self._index.akin(self._identity, chunks, most)
        except _FAULTS as fault:
            _told("search", fault)
            return []

    def tokens_of(self, anchor: Anchor) -> array[int] | None:
        """Return the tokens of `anchor` as its file has them; None when it is gone or torn."""
        try:
            head = self._if_sound(anchor.name, lambda: read_head(self._folder, anchor.name))
        except _FAULTS as fault:
            _told("search", fault)
            return None
        return None if head is None else head.tokens

    def load(self, anchor: Anchor, tokens: array[int]) -> State | None:
        """Return the state of `anchor`, which was saved for exactly the first `anchor.length` of `tokens`.

        Reads the file, at the disk's speed: not in the engine thread. None: it is gone, torn, or not what was asked
        for; what is torn is removed, so that the next search finds another.
        """
        prefix = tokens[: anchor.length]
        if len(prefix) != anchor.length or prefix_digest(prefix) != anchor.prefix:
            return None
        try:
            state = self._if_sound(anchor.name, lambda: read_state(self._folder, anchor.name, self._identity, prefix))
        except _FAULTS as fault:
            _told("load", fault)
            return None
        if state is not None:
            self._note_use(anchor.name)
        return state

    def read_ahead(self, most_bytes: int) -> None:
        """Let the system read what was used last, so much of it at most: what is asked for first after a start."""
        try:
            sizes = 0
            for anchor in self._index.latest(self._identity, _EXPECTED):
                sizes += anchor.file_bytes
                if sizes > most_bytes:
                    break
                self._folder.read_ahead(anchor.name)
        except _FAULTS as fault:
            _told("read ahead", fault)

    # -- saving --------------------------------------------------------------------------------------------------

    def wants(self, tokens: array[int], state_bytes: int, *, kind: AnchorKind, conversation: str = "") -> bool:
        """Whether `save` would keep such a state now: asked before the state is copied out of llama.cpp."""
        if not tokens or not state_bytes:
            return False
        header = self._header(tokens, state_bytes, kind, conversation)
        try:
            return (
                not self._known(tokens, kind)
                and self._affordable(header)
                and self._plan(header, self._replaced_by(header, tokens)) is not None
            )
        except _FAULTS as fault:
            _told("search", fault)
            return False

    def save(
        self,
        tokens: array[int],
        state: State,
        *,
        kind: AnchorKind,
        conversation: str = "",
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Saved:
        """Keep `state`, the state of exactly `tokens`; on the disk when this returns SAVED.

        Args:
            tokens: Not mutated, and not to be mutated by others meanwhile.
            state: As `tokens`.
            kind: A TURN takes the place of those TURNs of its conversation that it continues.
            conversation: Whose turn it is; a digest of it is stored. Where it has a name, a TURN is continued by what
                begins with half of it; where it has none, only by what begins with all of it.
            cancelled: Asked between chunks of 4 MiB; True ends the write.
        """
        try:
            return self._save(tokens, state.data.cast("B"), kind, conversation, cancelled)
        except CancelledError:
            return Saved.CANCELLED
        except _FAULTS as fault:
            if isinstance(fault, OSError) and fault.errno in _DISK_FULL:
                return Saved.NO_ROOM
            _told("save", fault)
            return Saved.FAILED

    def _save(
        self,
        tokens: array[int],
        state: memoryview,
        kind: AnchorKind,
        conversation: str,
        cancelled: Callable[[], bool],
    ) -> Saved:
        header = self._header(tokens, len(state), kind, conversation)
        if not tokens or not state or self._known(tokens, kind):
            return Saved.KNOWN
        replaced = self._replaced_by(header, tokens)
        doomed = self._plan(header, replaced)
        if doomed is None:
            return Saved.NO_ROOM
        if not self._index.reserve(header.file_bytes, header.created_at, self._limits.bytes_per_hour):
            return Saved.WRITTEN_ENOUGH
        self._remove(doomed)
        write_anchor(self._folder, header, tokens, state, cancelled)
        self._index.add(Anchor.of(header, tokens, header.created_at))
        self._remove(replaced)
        self._trim(header.name)
        return Saved.SAVED

    def _header(self, tokens: array[int], state_bytes: int, kind: AnchorKind, conversation: str) -> Header:
        return Header(
            kind=kind,
            length=len(tokens),
            state_bytes=state_bytes,
            created_at=self._clock(),
            identity=self._identity,
            prefix=prefix_digest(tokens),
            conversation=_digest(conversation),
            checksum=_UNKNOWN_YET,
            label=self._label,
        )

    def _prefixes(self, tokens: array[int], shortest: int, most: int = -1) -> list[Anchor]:
        """Return the anchors that `tokens` begin with, the longest first."""
        lengths = self._index.lengths(self._identity, max(1, shortest), len(tokens))
        digests = dict(prefix_digests(tokens, lengths))
        found = self._index.of_prefixes(self._identity, list(digests.values()), most)
        return [anchor for anchor in found if digests.get(anchor.length) == anchor.prefix]

    def _known(self, tokens: array[int], kind: AnchorKind) -> bool:
        """Whether one that lasts as long as `kind` is kept for these tokens, give or take a few."""
        length, near = len(tokens), self._limits.near_tokens
        longer = self._index.of_lengths(self._identity, length + 1, length + near)
        lasting = [a for a in (*self._prefixes(tokens, length - near), *longer) if a.kind <= kind]
        return any(anchor.length <= length or self._begins_with(anchor, tokens) for anchor in lasting)

    def _begins_with(self, anchor: Anchor, tokens: array[int]) -> bool:
        held = self.tokens_of(anchor)
        return held is not None and held[: len(tokens)] == tokens

    def _replaced_by(self, header: Header, tokens: array[int]) -> list[Anchor]:
        if header.kind is not AnchorKind.TURN:
            return []
        shorter = {anchor.name for anchor in self._prefixes(tokens[:-1], 1)}
        chunks = chunk_digests(tokens)
        return [
            turn
            for turn in self._index.turns_of(self._identity, header.conversation)
            if turn.name in shorter or (header.conversation != _NOBODYS and _goes_on(chunks, turn))
        ]

    # -- budgets -------------------------------------------------------------------------------------------------

    def _affordable(self, header: Header) -> bool:
        written = self._index.written_within_the_hour(header.created_at)
        return written + header.file_bytes <= self._limits.bytes_per_hour

    def _plan(self, header: Header, replaced: Sequence[Anchor]) -> Sequence[Anchor] | None:
        """Return what has to go before `header` comes; `replaced` go after. None: it cannot come."""
        count, held = self._index.totals()
        over_budget = held - sum(anchor.file_bytes for anchor in replaced) + header.file_bytes
        over_disk = header.file_bytes + self._limits.reserve_bytes - self._folder.free_bytes()
        return self._doomed(
            {anchor.name for anchor in replaced},
            bytes_needed=max(over_budget - self._limits.budget_bytes, over_disk),
            places_needed=count - len(replaced) + 1 - self._limits.most_anchors,
        )

    def _trim(self, newest: str) -> None:
        """Hold the budget where another process saved at the same time."""
        count, held = self._index.totals()
        doomed = self._doomed(
            {newest},
            bytes_needed=held - self._limits.budget_bytes,
            places_needed=count - self._limits.most_anchors,
        )
        self._remove(doomed or ())

    def _doomed(self, spared: Container[str], *, bytes_needed: int, places_needed: int) -> Sequence[Anchor] | None:
        """Return what has to go; mostly nothing, and then the rows need not be read."""
        if bytes_needed <= 0 and places_needed <= 0:
            return ()
        others = [anchor for anchor in self._index.all() if anchor.name not in spared]
        return victims(others, bytes_needed=bytes_needed, places_needed=places_needed, now=self._clock())

    # -- tidiness ------------------------------------------------------------------------------------------------

    def _reconcile(self) -> None:
        """Make the index say what the folder holds, after crashes and clearings."""
        self._folder.remove_abandoned_drafts()
        known = {anchor.name for anchor in self._index.all()}
        present = anchor_names(self._folder)
        self._index.restore(found_anchors(self._folder, present - known))
        gone = [name for name in known - present if self._folder.facts(name) is None]  # or published meanwhile
        self._index.remove(gone)

    def _remove(self, anchors: Sequence[Anchor]) -> None:
        """Remove anchors; the rows first: a file without a row is found again, a row without a file is a lie."""
        self._index.remove([anchor.name for anchor in anchors])
        for anchor in anchors:
            self._folder.remove(anchor.name)

    def _if_sound(self, name: str, read: Callable[[], _T]) -> _T | None:
        """Return what `read` does. None: the file is gone or no anchor, and forgotten; a later Pensieve's stays."""
        try:
            return read()
        except FileNotFoundError:
            self._index.remove([name])
        except NotAnAnchorError as error:
            _log.warning("anchor_discarded", file=name, reason=error.reason)
            self._index.remove([name])
            if not error.newer:
                self._folder.remove(name)
        return None

    def _note_use(self, name: str) -> None:
        now = self._clock()
        try:
            self._folder.touch(name, now)
            self._index.touch(name, now)
        except _FAULTS as fault:
            _told("note", fault)


def _digest(conversation: str) -> bytes:
    return hashlib.blake2b(conversation.encode(), digest_size=16).digest()


def _goes_on(chunks: bytes, turn: Anchor) -> bool:
    """Whether what has `chunks` is what became of `turn`: an answer that was rendered anew may be other tokens."""
    return 2 * shared_at_most(chunks, turn.chunks) >= turn.length


def _told(task: str, fault: Exception) -> None:
    _log.warning("anchor_task_failed", task=task, reason=str(fault))
