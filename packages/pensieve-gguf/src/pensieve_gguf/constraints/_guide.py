"""When which constraint is in force, over one answer. A pure machine beside the output parser.

Theory of operation. The answer tells it of every token (`follow`), and what the parser made of it; whoever samples
asks it before (`admits`, `mask`).

    REASONING ──over──▶ WHOLE ──(a constraint failed)──▶ FREE
        ▲─── <think> ─────┘                               │ ▲
                                  a call's header or      ▼ │ is whole, or are
                                  its arguments            CALL

A request that demands something of the whole answer starts in REASONING, when its prompt ends there, or in WHOLE; any
other starts FREE, and each call that the model begins is constrained from the point where the parser has recognised
it: twice, for its header ends where its arguments begin. What was said before is fed to the constraint; if it was
refusable, that call goes on unconstrained. A constraint that is still being made when its call begins is taken up as
soon as it is there. Where a call broke that nothing held, a further one is demanded (`demand_a_call`): CALL, from its
mark on.

Above: `Answer` holds it, `Chooser` asks it. Below: `Constraint`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeAlias

import attrs

from pensieve_gguf.llama import Logits
from pensieve_gguf.parsers import OpenCall, Tags

__all__ = ["HEADER", "MARKED_HEADER", "Guide", "Guiding", "Plan", "Reading"]

HEADER: Final = ""
"""Of a call whose name is not known yet. No tool has such a name, nor the next one."""
MARKED_HEADER: Final = " "
"""Likewise with the mark before it: what a call is begun with that is demanded in the middle of an answer."""


class Guiding(Protocol):
    """What is needed of a `Constraint`."""

    @property
    def satisfied(self) -> bool:
        """Whether the text may end here."""
        ...

    @property
    def failed(self) -> str:
        """Why it cannot go on."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing more may come."""
        ...

    def begun(self, text: str = "") -> Guiding | None:
        """Return one of its own after `text`."""
        ...

    def admits(self, token: int) -> bool:
        """Whether `token` may come next."""
        ...

    def mask(self, logits: Logits) -> None:
        """Make impossible what may not come next."""
        ...

    def accept(self, token: int) -> bool:
        """Go on after `token`."""
        ...

    def forced(self) -> list[int]:
        """Return the tokens that must come next."""
        ...


class Reading(Protocol):
    """What is needed of an output parser."""

    @property
    def thinking(self) -> bool:
        """The text stands within a block of reasoning."""
        ...

    @property
    def opened(self) -> OpenCall | None:
        """The call whose arguments are being written."""
        ...


Foreign: TypeAlias = Callable[[str, Tags | None], Guiding | None]
"""Name and tags of a call → the constraint of its arguments."""


@attrs.frozen(kw_only=True)
class Plan:
    """The constraints of one request, none of them begun; made before it is queued, and shared by its answers."""

    whole: Guiding | None = None
    """Of the answer from its first token on, reasoning excepted."""
    calls: Mapping[str, Guiding] = attrs.field(factory=dict)
    """Of a call that the model began unasked. By tool: of its arguments, and of what follows them; at `HEADER`: of what
    stands between its mark and its arguments, and of what follows. What is missing may come yet."""
    tags: Tags | None = None
    """What stands around parameters in such calls; None: they are JSON."""
    foreign: Foreign = lambda _, __: None
    """Likewise of the arguments of calls that are written as another family's."""
    opens_thinking: bool = False
    """The prompt ends within a block of reasoning."""
    think_tokens: frozenset[int] = frozenset()
    """Tokens that open one, and with which the answer may begin."""

    def of(self, call: OpenCall) -> Guiding | None:
        """Return the constraint of a call that has begun; None: there is none, or it is still being made."""
        own = not call.name or call.tags == self.tags
        return self.calls.get(call.name) if own else self.foreign(call.name, call.tags)


class _State(enum.Enum):
    REASONING = enum.auto()
    WHOLE = enum.auto()
    FREE = enum.auto()
    CALL = enum.auto()


class Guide:
    """Invariant: there is a constraint in WHOLE and in CALL, and nowhere else."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._constraint: Guiding | None = None
        self._state = _State.FREE
        self._seen = (0, "")
        """Number and name of the last call that was looked at."""
        self.failure = ""
        """Why a constraint was given up; the answer may not be what was demanded."""
        if plan.whole is not None and plan.opens_thinking:
            self._state = _State.REASONING
        elif plan.whole is not None:
            self._begin(plan.whole, "", _State.WHOLE)
        self._may_think = self._state is _State.WHOLE

    @property
    def complete(self) -> bool:
        """Whether the answer is all that was demanded, and nothing more may come: it need not be sampled on."""
        return self.satisfied and self._constraint is not None and self._constraint.ended

    @property
    def satisfied(self) -> bool:
        """Whether the answer may end here, being all that was demanded."""
        constraint = self._constraint if self._state is _State.WHOLE else None
        return constraint is not None and constraint.satisfied

    def admits(self, token: int) -> bool:
        """Whether `token` may come next."""
        return self._constraint is None or self._constraint.admits(token) or self._opens_thinking(token)

    def mask(self, logits: Logits) -> None:
        """Make impossible what may not come next. `logits`: (vocabulary,), mutated."""
        if self._constraint is not None:
            self._constraint.mask(logits)

    def forced(self) -> list[int]:
        """Return some tokens that spell what must come next; empty where there is a choice.

        The model may spell it in others, so they are worth a draft, and no more.
        """
        return [] if self._constraint is None or self._may_think or self.satisfied else self._constraint.forced()

    def finish(self, *, enough: bool) -> str:
        """Return why the answer is not what was demanded, if the model ends its turn here; empty when it is.

        Args:
            enough: The parser has heard all that counts.
        """
        kept = self._plan.whole is None or self.satisfied or enough
        return self.failure or ("" if kept else "the turn ended before the answer was complete")

    @property
    def can_demand_a_call(self) -> bool:
        """Whether `demand_a_call` can be called here."""
        return self._state is _State.FREE and MARKED_HEADER in self._plan.calls

    def demand_a_call(self) -> None:
        """Let nothing come next but a call as the model was told to write it, of a tool that there is."""
        self._begin(self._plan.calls[MARKED_HEADER], "", _State.CALL)

    def give_up(self, why: str) -> None:
        """Let the answer go on unconstrained: nothing at all could come next."""
        self.failure = (self._constraint.failed if self._constraint is not None else "") or why
        self._let_go()

    def follow(self, token: int, reading: Reading, *, settled: bool) -> None:
        """Note that `token`, which does not end the turn, was sampled, and read.

        Args:
            token: A token.
            reading: The parser after it.
            settled: Nothing sampled so far is held back from the parser.
        """
        match self._state:
            case _State.REASONING if settled and not reading.thinking and self._plan.whole is not None:
                self._begin(self._plan.whole, "", _State.WHOLE)
            case _State.WHOLE if self._opens_thinking(token):
                self._let_go()
                self._state = _State.REASONING
            case _State.WHOLE | _State.CALL if self._constraint is not None:
                self._advance(self._constraint, token)
            case _:
                pass
        # A token may end the header of a call and begin its arguments.
        if self._state is _State.FREE and settled and reading.opened is not None:
            self._open(reading.opened)
        self._may_think = False

    def _opens_thinking(self, token: int) -> bool:
        return self._may_think and token in self._plan.think_tokens

    def _advance(self, constraint: Guiding, token: int) -> None:
        if not constraint.accept(token):
            self.give_up("a token was refused that had been admitted")
        elif self._state is _State.CALL and constraint.satisfied:
            self._let_go()

    def _open(self, call: OpenCall) -> None:
        planned = self._plan.of(call)
        if planned is None:
            return
        seen, self._seen = self._seen, (call.number, call.name)
        if self._seen > seen:
            self._begin(planned, call.text, _State.CALL)

    def _begin(self, planned: Guiding, text: str, state: _State) -> None:
        begun = planned.begun(text)
        if begun is not None and not (state is _State.CALL and begun.satisfied):
            self._constraint = begun
            self._state = state

    def _let_go(self) -> None:
        self._constraint = None
        self._state = _State.FREE
