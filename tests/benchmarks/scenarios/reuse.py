"""Is an answer on a reused prefix the answer that a fresh server gives?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

import attrs
from answers import NEAR_TIE, Agreement, agreements, summary
from client import Timeline, question, send
from prompts import Logits, prompt_tokens, text_tokens
from scenario import Bench, Claim, Part, Scenario, Table
from servers import Server
from texts import listing

__all__ = ["SCENARIO", "Way", "judge", "prompts", "table"]

_PROMPTS = 10
_CONTEXT = 8192
_ITEMS = 60
_ANSWER_TOKENS = 48
_TASKS = (
    "Write a limerick about the first item.",
    "Explain to a child what a list is.",
    "Name three uses of an item.",
    "Write a Python function that counts the red items.",
    "Tell a story that begins in a shop.",
    "Give the list a title, and say why.",
    "Which item would you buy, and why?",
    "Describe the colour blue to someone who never saw it.",
    "Write a letter to the owner of the shop.",
    "How would you sort this list?",
)


@attrs.frozen(kw_only=True)
class Way:
    """A way of asking, beside that of asking a fresh server."""

    name: str
    cached: tuple[int, ...]
    """Tokens that were reused, prompt by prompt."""
    agreements: tuple[Agreement, ...]


def prompts() -> tuple[tuple[str, str], ...]:
    """Return ten pairs: a prompt that leaves a prefix behind, and one that begins alike and ends otherwise."""
    salts = [f"shelf {number}" for number in range(_PROMPTS)]
    return tuple((listing(salt, _ITEMS), listing(salt, _ITEMS, task)) for salt, task in zip(salts, _TASKS, strict=True))


def judge(ways: Sequence[Way]) -> tuple[Claim, ...]:
    """Hold Pensieve's answers against those of fresh servers."""
    return tuple(
        Claim(
            text=f"{way.name}: answers are those of a fresh server, or took near ties only ({NEAR_TIE:.1f} logits)",
            measured=summary(way.agreements),
            holds=all(one.excused for one in way.agreements),
        )
        for way in ways
    )


def table(ways: Sequence[Way]) -> Table:
    """Return each prompt's fate."""
    columns = ("prompt", *(f"{way.name}: {what}" for way in ways for what in ("cached", "answer")))
    rows = (
        (str(number + 1), *(cell for way in ways for cell in (str(way.cached[number]), way.agreements[number].words)))
        for number in range(_PROMPTS)
    )
    return Table(title="Answers beside those of a fresh server", columns=columns, rows=tuple(rows))


def run(bench: Bench) -> Part:
    """Ask ten prompts in three ways: of servers that never computed anything, on a prefix, after a restart."""
    with contextlib.closing(Logits(bench.model, cells=_CONTEXT, threads=bench.threads)) as judges:
        ours = _ways(bench, lambda home: bench.ours(context=_CONTEXT, home=home), judges)
        theirs = _ways(bench, lambda _: bench.theirs(context=_CONTEXT), judges)
    compared = f"llama-server, prefix reused: {summary(theirs[0].agreements)}."
    return Part(tables=(table(ours), table(theirs)), claims=judge(ours), notes=(compared,))


def _ways(bench: Bench, server: Callable[[str], Server], judges: Logits) -> tuple[Way, ...]:
    pairs = prompts()
    fresh = [_fresh(bench, server(f"fresh-{number}"), prompt) for number, (_, prompt) in enumerate(pairs)]
    kept = server("kept")
    with bench.up(kept):
        reused = [(_ask(kept, first), _ask(kept, second))[1] for first, second in pairs]
    with bench.up(kept):
        restarted = [_ask(kept, prompt) for _, prompt in pairs]
    rendered, tokens = prompt_tokens(bench.model), text_tokens(bench.model)
    asked = [rendered(question(prompt, max_tokens=_ANSWER_TOKENS)) for _, prompt in pairs]

    def way(name: str, timelines: Sequence[Timeline]) -> Way:
        expected, found = ([tokens(one.text) for one in several] for several in (fresh, timelines))
        cached = tuple(one.cached_tokens for one in timelines)
        return Way(name=name, cached=cached, agreements=agreements(asked, expected, found, judges.shortfall))

    names: Mapping[str, Sequence[Timeline]] = {"prefix reused": reused, "after a restart": restarted}
    return tuple(way(f"{kept.name}, {name}", timelines) for name, timelines in names.items())


def _fresh(bench: Bench, server: Server, prompt: str) -> Timeline:
    with bench.up(server):
        return _ask(server, prompt)


def _ask(server: Server, prompt: str) -> Timeline:
    return send(server.port, question(prompt, max_tokens=_ANSWER_TOKENS))


SCENARIO = Scenario(name="reuse", shows="greedy answers on reused prefixes beside those of fresh servers", run=run)
