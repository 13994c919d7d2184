"""Eight clients at once, and cells for one and a half of their conversations: do all get their answers?"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import attrs
from answers import NEAR_TIE, Agreement, agreements, summary
from client import Refused, Timeline, question, send
from prompts import Logits, prompt_tokens, text_tokens
from scenario import Bench, Claim, Part, Scenario, Table
from servers import Server
from texts import listing

__all__ = ["SCENARIO", "Crowd", "judge", "table"]

_CLIENTS = 8
_CONTEXT = 2048
_ROOMY = 8192
_ITEMS = 140
"""Some 1,300 tokens: with its answer two thirds of the cells."""
_AFTERWARDS_ITEMS = 235
"""Nearly all cells."""
_ANSWER_TOKENS = 48
_PATIENCE = 1.5


@attrs.frozen(kw_only=True)
class Crowd:
    """What a server did with its eight clients."""

    server: str
    asked: tuple[Timeline | str, ...]
    """A text: the error that a client got."""
    alone: tuple[Timeline, ...]
    """The same prompts, one after the other, on a server with room."""
    agreements: tuple[Agreement, ...]
    afterwards: Timeline | str
    """A request that needs nearly all cells, when all is over."""

    @property
    def answered(self) -> tuple[Timeline, ...]:
        """The clients that got an answer."""
        return tuple(one for one in self.asked if isinstance(one, Timeline))

    @property
    def serial_s(self) -> float:
        """How long all eight would take, one after the other."""
        return sum(one.stamps[-1] for one in self.alone)


def judge(ours: Crowd) -> tuple[Claim, ...]:
    """Hold Pensieve's crowd against what a small cache may cost."""
    last = max((one.first_token_s for one in ours.answered), default=float("inf"))
    bound = _PATIENCE * ours.serial_s
    return (
        Claim(
            text=f"all {_CLIENTS} finish",
            measured=f"{len(ours.answered)} do",
            holds=len(ours.answered) == len(ours.asked),
        ),
        Claim(
            text=f"answers are what they are alone, or took near ties only ({NEAR_TIE:.1f} logits)",
            measured=summary(ours.agreements),
            holds=all(one.excused for one in ours.agreements),
        ),
        Claim(
            text=f"none starves: the last first token comes within {_PATIENCE} times the time of all, one by one",
            measured=f"{last:.1f} s of {bound:.1f} s",
            holds=last <= bound,
        ),
        Claim(
            text="afterwards the cells are free: a request that needs nearly all is served",
            measured=_outcome(ours.afterwards),
            holds=isinstance(ours.afterwards, Timeline),
        ),
    )


def table(crowds: Sequence[Crowd]) -> Table:
    """Return each client's fate."""
    columns = ("client", *(f"{crowd.server}: {what}" for crowd in crowds for what in ("TTFT s", "end", "as alone")))
    rows = (
        (str(number + 1), *(cell for crowd in crowds for cell in _cells(crowd, number))) for number in range(_CLIENTS)
    )
    return Table(title=f"{_CLIENTS} clients at once, {_CONTEXT:,} cells", columns=columns, rows=tuple(rows))


def _cells(crowd: Crowd, number: int) -> tuple[str, str, str]:
    asked = crowd.asked[number]
    if isinstance(asked, str):
        return "", asked, ""
    return f"{asked.first_token_s:.1f}", str(asked.stop_reason), crowd.agreements[number].words


def _outcome(asked: Timeline | str) -> str:
    return asked if isinstance(asked, str) else f"{asked.prompt_tokens} tokens, {asked.stop_reason}"


def run(bench: Bench) -> Part:
    """Ask alone on a server with room; then all at once on a small one. One program, then the other."""
    slots = ("-np", str(_CLIENTS), "--kv-unified")
    pairs = (
        (bench.ours(context=_ROOMY, home="roomy"), bench.ours(context=_CONTEXT, home="tight")),
        (bench.theirs(context=_ROOMY), bench.theirs(*slots, context=_CONTEXT)),
    )
    crowds = [_crowd(bench, roomy, tight) for roomy, tight in pairs]
    return Part(tables=(table(crowds),), claims=judge(crowds[0]))


def _crowd(bench: Bench, roomy: Server, tight: Server) -> Crowd:
    prompts = [listing(f"crate {number}", _ITEMS) for number in range(_CLIENTS)]
    with bench.up(roomy):
        alone = tuple(send(roomy.port, question(prompt, max_tokens=_ANSWER_TOKENS)) for prompt in prompts)
    with bench.up(tight):
        with ThreadPoolExecutor(_CLIENTS) as threads:
            asked = tuple(threads.map(lambda prompt: _asked(tight, prompt), prompts))
        afterwards = _asked(tight, listing("afterwards", _AFTERWARDS_ITEMS))
    return Crowd(
        server=tight.name,
        asked=asked,
        alone=alone,
        agreements=_agreements(bench, prompts, alone, asked),
        afterwards=afterwards,
    )


def _agreements(
    bench: Bench, prompts: Sequence[str], alone: Sequence[Timeline], asked: Sequence[Timeline | str]
) -> tuple[Agreement, ...]:
    rendered, tokens = prompt_tokens(bench.model), text_tokens(bench.model)
    answers = [one.text if isinstance(one, Timeline) else "" for one in asked]
    with contextlib.closing(Logits(bench.model, cells=_ROOMY, threads=bench.threads)) as judges:
        return agreements(
            [rendered(question(prompt, max_tokens=_ANSWER_TOKENS)) for prompt in prompts],
            [tokens(one.text) for one in alone],
            [tokens(text) for text in answers],
            judges.shortfall,
        )


def _asked(server: Server, prompt: str) -> Timeline | str:
    try:
        return send(server.port, question(prompt, max_tokens=_ANSWER_TOKENS))
    except Refused as refusal:
        return str(refusal)[:60].replace("|", "/")


SCENARIO = Scenario(name="tight", shows="eight clients, cells for one and a half: does each get its answer", run=run)
