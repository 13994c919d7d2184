"""The interactive Claude Code with all of its tools: in one folder, and after a restart of the server in another one.

What the second session computes, and how long it waits, is what the first one's patience has paid for. Both run in a
terminal, as the launcher starts them for a large context; what is told is read off the server's log.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs
from claude_code import installed
from scenario import Bench, Claim, Part, Scenario, Table
from servers import Server, default_model, running
from terminal import opened, trusting

from pensieve_cli.claude_code.launch import Target, plan_launch

__all__ = ["SCENARIO", "Served", "judge", "served", "table"]

_CONTEXT = 49_152
"""From here on the launcher sends all of it."""
_BOUND_S = 3_600.0
_MOST_AGAIN = 0.1
"""Tools and system text are the same in all folders, 22,000 of 24,000 tokens; what comes behind tells of the folder."""


@attrs.frozen(kw_only=True)
class _Session:
    """Where Claude Code is started, and what it is told."""

    folder: str
    files: Mapping[str, str]
    words: str


_SESSIONS = (
    _Session(folder="shop", files={"stock.py": 'STOCK = {"apples": 7}\n'}, words="Say hello in one word."),
    _Session(folder="library", files={"AUTHORS": "Ann\n"}, words="Say good evening in two words."),
)


@attrs.frozen(kw_only=True)
class Served:
    """One request, by the server's log."""

    ending: str
    prompt: int
    cached: int
    first_token_s: float

    @property
    def computed(self) -> int:
        """What was not in the cache."""
        return self.prompt - self.cached


def served(lines: Iterable[str]) -> tuple[Served, ...]:
    """Return the requests for answers, in the order in which they ended; those that came to none have figures of 0."""
    facts = [json.loads(line) for line in lines if line.startswith("{") and '"request_finished"' in line]
    return tuple(
        Served(
            ending=fact["ending"],
            prompt=fact.get("prompt_tokens") or 0,
            cached=fact.get("cached_tokens") or 0,
            first_token_s=fact.get("ttft_s") or 0.0,
        )
        for fact in facts
        if fact["path"].partition("?")[0] == "/v1/messages"
    )


def judge(first: Sequence[Served], second: Sequence[Served]) -> tuple[Claim, ...]:
    """Hold both sessions against what they have to show."""
    requests = [*first, *second]
    share = second[0].computed / second[0].prompt
    return (
        Claim(
            text="each session asks once, waits for its answer, and never again",
            measured=f"{len(first)} and {len(second)} requests, {', '.join(one.ending for one in requests)}",
            holds=len(first) == len(second) == 1 and all(one.ending == "answered" for one in requests),
        ),
        Claim(
            text=f"in another folder, after a restart, at most {_MOST_AGAIN:.0%} of the prompt are computed",
            measured=f"{share:.1%}",
            holds=share <= _MOST_AGAIN,
        ),
    )


def table(first: Sequence[Served], second: Sequence[Served]) -> Table:
    """Return all requests of both."""
    columns = ("session", "ending", "prompt", "cached", "computed", "first token, s")
    sessions = (("first", first), ("second", second))
    rows = tuple((name, *_row(one)) for name, found in sessions for one in found)
    return Table(title="By the server's log", columns=columns, rows=rows)


def _row(one: Served) -> tuple[str, ...]:
    figures = (one.prompt, one.cached, one.computed)
    return (one.ending, *(f"{figure:,}" for figure in figures), f"{one.first_token_s:.1f}")


def run(bench: Bench) -> Part:
    """Play both sessions, each on a server of its own with the same cache on disk."""
    with tempfile.TemporaryDirectory(prefix="sessions-") as root:
        first, second = (_play(bench, session, Path(root)) for session in _SESSIONS)
    return Part(tables=(table(first, second),), claims=judge(first, second))


def _play(bench: Bench, session: _Session, root: Path) -> tuple[Served, ...]:
    work, home, log = root / session.folder, root / f"home-{session.folder}", bench.folder / f"{session.folder}.log"
    work.mkdir()
    for name, text in session.files.items():
        (work / name).write_text(text)
    trusting(home, work)
    server = bench.ours(context=_CONTEXT)
    with running(server, cores=bench.cores, log=log):
        _speak(bench.claude or installed(), server, session.words, home=home, work=work, log=log)
    return _requests(log)


def _speak(program: Path, server: Server, words: str, *, home: Path, work: Path, log: Path) -> None:
    target = Target(url=server.url, token=None, model=default_model(server), context_tokens=_CONTEXT)
    with opened(program, plan_launch(target, (), status_line="true"), home=home, work=work) as terminal:
        terminal.type(words)
        terminal.wait_until(lambda: len(_requests(log)) > 0, "an answer", bound_s=_BOUND_S)


def _requests(log: Path) -> tuple[Served, ...]:
    return served(log.read_text("utf-8", "replace").splitlines())


SCENARIO = Scenario(
    name="interactive",
    shows="all tools of the interactive Claude Code: the first session, and one elsewhere after a restart",
    run=run,
    coder_only=True,
    by_name_only=True,
)
