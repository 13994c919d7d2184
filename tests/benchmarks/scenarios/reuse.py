"""Is an answer on a reused prefix the answer that a fresh server gives?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from answers import Agreement, agreement
from client import Timeline, question, send
from prompts import text_tokens
from scenario import Bench, Claim, Part, Scenario, Table
from servers import Server
from texts import listing

__all__ = ["SCENARIO", "compared", "judge", "table"]

_PROMPTS = 10
_CONTEXT = 4096
_ITEMS = 60
_ANSWER_TOKENS = 48
_SAME = 9
"""So many of ten must be the same: a near tie may flip (see `answers`)."""
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
_WAYS = ("prefix reused", "after a restart")


def prompts() -> tuple[tuple[str, str], ...]:
    """Return ten pairs: a prompt that leaves a prefix behind, and one that begins alike and ends otherwise."""
    salts = [f"shelf {number}" for number in range(_PROMPTS)]
    return tuple((listing(salt, _ITEMS), listing(salt, _ITEMS, task)) for salt, task in zip(salts, _TASKS, strict=True))


def compared(
    fresh: Sequence[Sequence[int]], others: Mapping[str, Sequence[Sequence[int]]]
) -> dict[str, tuple[Agreement, ...]]:
    """Hold each way's answers, in tokens, against those of fresh servers."""
    return {way: tuple(map(agreement, fresh, answers)) for way, answers in others.items()}


def judge(found: Mapping[str, Sequence[Agreement]]) -> tuple[Claim, ...]:
    """Hold Pensieve's answers against those of fresh servers."""
    return tuple(
        Claim(
            text=f"{way}: at least {_SAME} of {len(agreements)} answers are those of a fresh server",
            measured=f"{sum(one.identical for one in agreements)} are",
            holds=sum(one.identical for one in agreements) >= _SAME,
        )
        for way, agreements in found.items()
    )


def table(found: Mapping[str, Sequence[Agreement]], cached: Mapping[str, Sequence[int]]) -> Table:
    """Return each prompt's fate; `cached`: tokens that were reused."""
    columns = ("prompt", *(f"{way}: {what}" for way in found for what in ("cached", "answer")))
    rows = (
        (str(number + 1), *(cell for way in found for cell in (str(cached[way][number]), found[way][number].words)))
        for number in range(_PROMPTS)
    )
    return Table(title="Answers beside those of a fresh server", columns=columns, rows=tuple(rows))


def run(bench: Bench) -> Part:
    """Ask ten prompts in three ways: each of a server that never computed anything, on a prefix, after a restart."""
    pairs = prompts()
    fresh = [_fresh(bench, number, prompt) for number, (_, prompt) in enumerate(pairs)]
    server = bench.ours(context=_CONTEXT)
    with bench.up(server):
        for prompt, _ in pairs:
            _ask(server, prompt)
        reused = [_ask(server, prompt) for _, prompt in pairs]
    with bench.up(server):
        restarted = [_ask(server, prompt) for _, prompt in pairs]
    ways = dict(zip(_WAYS, (reused, restarted), strict=True))
    tokens = text_tokens(bench.model)
    answers = {way: [tokens(one.text) for one in asked] for way, asked in ways.items()}
    found = compared([tokens(one.text) for one in fresh], answers)
    cached = {way: [one.cached_tokens for one in asked] for way, asked in ways.items()}
    return Part(tables=(table(found, cached),), claims=judge(found))


def _fresh(bench: Bench, number: int, prompt: str) -> Timeline:
    server = bench.ours(context=_CONTEXT, home=f"fresh-{number}")
    with bench.up(server):
        return _ask(server, prompt)


def _ask(server: Server, prompt: str) -> Timeline:
    return send(server.port, question(prompt, max_tokens=_ANSWER_TOKENS))


SCENARIO = Scenario(name="reuse", shows="greedy answers on reused prefixes beside those of fresh servers", run=run)
