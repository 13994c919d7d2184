"""Who is computed first, who takes part in a step, and who gives way. Pure rules, and one memory.

Four rules, from the strongest to the weakest:

    class     a main turn goes before a subagent's, that before what nobody watches, and batches come last; who has
              waited long moves up a class
    session   of one class, whoever's session was served less goes first, by tokens: eight agents of one session do
              not push out another session's only turn
    work      less work goes before more: short appends before long prompts
    age       what has waited ten times as long as it takes to compute goes before all that came later

None starves: the last rule overcomes the two before it, and promotion the first.

Above: the scheduler, which knows the work that is left and carries out what is decided here.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable
from collections.abc import Sequence as Several

import attrs

from pensieve_core import Priority
from pensieve_gguf.engine.sequence import Sequence

__all__ = ["Precedence", "gives_way", "taking_part", "youngest"]

_AGE_CREDIT = 0.1
"""Of the tokens that could be computed while one waited. In tokens/s the credit follows the machine; 50 on any made
slow ones compute 1.4 times as much, as sessions pushed each other out in turn (simulated, docs/benchmarks)."""
_PROMOTED_AFTER_S = 600.0
"""Ten minutes in the queue, or in a prompt that others overtake, are worth a class."""
_QUIET_SHARE = 4
"""What nobody watches takes part in one step of so many while anyone else is at work."""
_REMEMBERED = 256
"""Sessions; whoever comes back later begins as a new one does."""


@attrs.frozen
class _Candidate:
    sequence: Sequence
    rank: int
    own: float
    """Tokens to compute, less the credit for having waited."""
    work: int


class Precedence:
    """Orders sequences, and remembers what their sessions were given."""

    def __init__(self) -> None:
        self._served: OrderedDict[Hashable, float] = OrderedDict()
        """Session → prompt tokens computed for it, or what counts as such."""

    def join(self, sequence: Sequence, others: Iterable[Sequence]) -> None:
        """Note that `sequence` came, beside `others`: a session that was away gets no credit for that."""
        session = sequence.session
        if session is None:
            return
        least = min((self._served.get(one.session, 0.0) for one in others if one.session is not None), default=0.0)
        self._served[session] = max(self._served.pop(session, 0.0), least)
        if len(self._served) > _REMEMBERED:
            self._served.popitem(last=False)

    def note(self, sequence: Sequence, tokens: int) -> None:
        """Note that so many `tokens` of its prompt were computed."""
        if sequence.session in self._served:
            self._served[sequence.session] += tokens

    def in_order(
        self,
        sequences: Several[Sequence],
        now: float,
        *,
        work: Callable[[Sequence], int],
        token_s: float,
        busy: Iterable[Sequence] = (),
    ) -> Several[Sequence]:
        """Return `sequences`, the most urgent first.

        Args:
            sequences: Who wants something.
            now: Seconds on the engine's clock.
            work: Tokens to compute before it answers.
            token_s: Seconds that a prompt token takes.
            busy: Who has what `sequences` want already: counts as given to their sessions.
        """
        if len(sequences) < 2:  # noqa: PLR2004 - nobody to compare it with
            return sequences
        given = self._advance_of(sequences)
        for one in busy:
            given[one.session] += one.to_come
        candidates = [_candidate(one, now, work(one), token_s) for one in sequences]
        queue: list[tuple[int, float, Sequence]] = []
        for candidate in sorted(candidates, key=lambda one: (one.rank, one.own)):
            session = candidate.sequence.session
            queue.append((candidate.rank, given[session] + candidate.own, candidate.sequence))
            if session is not None:
                given[session] += candidate.work  # the next one of its session stands behind
        return [sequence for _, _, sequence in sorted(queue, key=lambda entry: entry[:2])]

    def _advance_of(self, sequences: Several[Sequence]) -> dict[Hashable, float]:
        """Return how much more than the least served one each session had; of strangers nothing is known."""
        sessions = {one.session for one in sequences if one.session is not None}
        least = min((self._served.get(session, 0.0) for session in sessions), default=0.0)
        ahead = {session: self._served.get(session, 0.0) - least for session in sessions}
        return defaultdict(float, ahead)


def taking_part(running: list[Sequence], beat: int) -> list[Sequence]:
    """Return who takes part in step number `beat`: all, but that what nobody watches stands back for the others."""
    if len(running) < 2 or beat % _QUIET_SHARE == 0:  # noqa: PLR2004 - nobody to stand back for
        return running
    watched = [one for one in running if one.priority < Priority.BACKGROUND]
    return watched or running


def gives_way(running: Iterable[Sequence], newcomer: Sequence) -> Sequence | None:
    """Return who is to wait so that `newcomer` can run; what it computed stays. None: nobody.

    Somebody of a lower class; or one of a session that has two more running than the newcomer's. Nobody does so twice.
    """
    running = list(running)
    held = Counter(one.session for one in running if one.session is not None)
    enough = held[newcomer.session] + 2
    crowded = newcomer.session is not None
    leavers = [
        one
        for one in running
        if not one.gave_way
        and (
            one.priority > newcomer.priority
            or (crowded and one.priority == newcomer.priority and held[one.session] >= enough)
        )
    ]
    return youngest(leavers) if leavers else None


def youngest(running: Several[Sequence]) -> Sequence:
    """Return whose work is interrupted at the least harm: of the lowest class, of the busiest session, the youngest."""
    held = Counter(one.session for one in running if one.session is not None)
    return max(running, key=lambda one: (one.priority, held[one.session], one.arrived))


def _candidate(sequence: Sequence, now: float, work: int, token_s: float) -> _Candidate:
    waited = now - sequence.arrived
    return _Candidate(
        sequence=sequence,
        rank=max(Priority.MAIN, sequence.priority - int(waited / _PROMOTED_AFTER_S)),
        own=work - waited * _AGE_CREDIT / token_s,
        work=work,
    )
