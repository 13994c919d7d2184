"""Who is to blame when a worker dies, and when it has died too often. A pure machine.

A worker's death is nobody's in particular: all requests that it had are suspects. Who is suspected twice is refused;
who is served is innocent. Suspects are served one at a time, so that the second death is that of the guilty one alone.

Above: the supervisor, which tells what happened and asks what to do.
"""

from __future__ import annotations

import hashlib

import attrs

from pensieve_core import GenerationRequest, QuarantinedError, RequestId
from pensieve_gguf.worker.messages import Generate, encode

__all__ = ["Deaths"]

_TO_QUARANTINE = 2
_TO_GIVE_UP = 5
_FIRST_BACK_OFF_S = 0.1
_REMEMBERED = 256


@attrs.define
class Deaths:
    """The deaths of one engine's workers. Invariant: at most 256 requests are remembered, those blamed last."""

    last_words: str = ""
    """Of the worker that died last."""
    served_nothing: bool = False
    """Whether the worker that died last had answered nobody: what it had loaded may have killed it."""
    _serves: bool = False
    _in_a_row: int = 0
    _by_request: dict[str, frozenset[int]] = attrs.field(factory=dict)
    """Fingerprint → the workers that it may have killed. Equal requests at once still make one death each."""

    @property
    def too_many(self) -> bool:
        """Whether the engine died so often without having served anything in between that it is given up."""
        return self._in_a_row >= _TO_GIVE_UP

    @property
    def back_off_s(self) -> float:
        """How long to wait before the next worker is started, in seconds."""
        return _FIRST_BACK_OFF_S * 2**self._in_a_row if self._in_a_row else 0.0

    def note(self, last_words: str) -> None:
        """Count one more death."""
        self.last_words = last_words
        self.served_nothing, self._serves = not self._serves, False
        self._in_a_row += 1

    def blame(self, request: GenerationRequest, pid: int) -> None:
        """Note that `request` was there when the worker `pid` died."""
        fingerprint = _fingerprint(request)
        self._by_request[fingerprint] = self._by_request.pop(fingerprint, frozenset()) | {pid}
        while len(self._by_request) > _REMEMBERED:
            del self._by_request[next(iter(self._by_request))]

    def praise(self, request: GenerationRequest) -> None:
        """Note that `request` was served: it is innocent, and the engine sound."""
        self._serves = True
        self._in_a_row = 0
        if self._by_request:
            self._by_request.pop(_fingerprint(request), None)

    def check(self, request: GenerationRequest) -> None:
        """Let `request` pass.

        Raises:
            QuarantinedError: it was there too often when a worker died.
        """
        deaths = self._count(request)
        if deaths >= _TO_QUARANTINE:
            raise QuarantinedError(deaths)

    def suspects(self, request: GenerationRequest) -> bool:
        """Whether `request` was there when a worker died, and has not been served since."""
        return self._count(request) > 0

    def _count(self, request: GenerationRequest) -> int:
        return len(self._by_request.get(_fingerprint(request), ())) if self._by_request else 0


def _fingerprint(request: GenerationRequest) -> str:
    """Return what equal requests have in common: everything but their id."""
    anonymous = attrs.evolve(request, id=RequestId(""))
    return hashlib.sha256(encode(Generate(key=0, request=anonymous))).hexdigest()
