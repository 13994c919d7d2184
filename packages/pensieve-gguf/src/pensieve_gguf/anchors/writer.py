"""Saving, off the hot path: a thread of its own behind a bounded mailbox. A thin shell over `AnchorStore.save`."""

from __future__ import annotations

import threading
from array import array
from collections import Counter, deque

import attrs

from pensieve_gguf.anchors.files import State
from pensieve_gguf.anchors.format import AnchorKind
from pensieve_gguf.anchors.store import AnchorStore, Saved

__all__ = ["AnchorWriter"]

_QUEUE_BYTES = 1 << 30


@attrs.frozen(kw_only=True)
class _Offer:
    tokens: array[int]
    state: State
    kind: AnchorKind
    conversation: str


class AnchorWriter:
    """Saves what it is offered, one after the other, and drops what it cannot keep up with.

    Args:
        store: Not closed here.
        queue_bytes: States that wait or are being written hold so much memory together at most; a single larger one is
            taken when nothing else waits.
    """

    def __init__(self, store: AnchorStore, *, queue_bytes: int = _QUEUE_BYTES) -> None:
        self.outcomes: Counter[Saved] = Counter()
        """What became of the offers that were taken. Written by the thread, read by anyone."""
        self.dropped = 0
        self._store = store
        self._queue_bytes = queue_bytes
        self._held_bytes = 0
        self._offers: deque[_Offer] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="anchors", daemon=True)
        self._thread.start()

    def offer(self, tokens: array[int], state: State, *, kind: AnchorKind, conversation: str = "") -> bool:
        """Take a state to be saved; never waits. False: it was dropped.

        `tokens` and `state` belong to the writer from now on.
        """
        offer = _Offer(tokens=tokens, state=state, kind=kind, conversation=conversation)
        with self._changed:
            if self._closing or (self._held_bytes and self._held_bytes + state.nbytes > self._queue_bytes):
                self.dropped += 1
                return False
            self._offers.append(offer)
            self._held_bytes += state.nbytes
            self._changed.notify_all()
        return True

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing is waiting or being written; False: it took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._held_bytes, timeout_s)

    def close(self, deadline_s: float) -> bool:
        """Save what was taken, for at most `deadline_s` seconds, and give the rest up.

        Returns:
            Whether the thread has ended. If not (the disk hangs), it ends with the process; what it leaves behind is
            removed at the next start.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(deadline_s)
        self._given_up.set()
        self._thread.join(_LAST_CHUNK_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (offer := self._next()) is not None:
            outcome = self._store.save(
                offer.tokens,
                offer.state,
                kind=offer.kind,
                conversation=offer.conversation,
                cancelled=self._given_up.is_set,
            )
            self.outcomes[outcome] += 1
            with self._changed:
                self._held_bytes -= offer.state.nbytes
                self._changed.notify_all()

    def _next(self) -> _Offer | None:
        with self._changed:
            self._changed.wait_for(lambda: self._offers or self._closing)
            if self._given_up.is_set():
                self.dropped += len(self._offers)
                self._offers.clear()
            return self._offers.popleft() if self._offers else None


_LAST_CHUNK_S = 1.0
"""How long the chunk takes that is being written when the deadline comes."""
