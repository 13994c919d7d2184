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
from servers import default_model, running
from terminal import opened, trusting

from pensieve_cli.claude_code.launch import Target, plan_launch

__all__ = ["KINDS", "SCENARIO", "Served", "judge", "served", "sessions", "table"]

_CONTEXT = 49_152
"""From here on the launcher sends all of it."""
_BOUND_S = 3_600.0
KINDS: Mapping[str, Mapping[str, str]] = {"as they come": {}, "all": {"ENABLE_TOOL_SEARCH": "false"}}
"""As it comes, Claude Code describes the rarer tools only once they are searched for."""
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


def judge(kind: str, first: Sequence[Served], second: Sequence[Served]) -> tuple[Claim, ...]:
    """Hold both sessions of one kind against what they have to show."""
    requests = [*first, *second]
    share = second[0].computed / second[0].prompt
    return (
        Claim(
            text=f"{kind}: each session asks once, waits for its answer, and never again",
            measured=f"{len(first)} and {len(second)} requests, {', '.join(one.ending for one in requests)}",
            holds=len(first) == len(second) == 1 and all(one.ending == "answered" for one in requests),
        ),
        Claim(
            text=f"{kind}: in another folder, after a restart, at most {_MOST_AGAIN:.0%} of the prompt are computed",
            measured=f"{share:.1%}",
            holds=share <= _MOST_AGAIN,
        ),
    )


def table(played: Mapping[str, Sequence[Sequence[Served]]]) -> Table:
    """Return all requests of the sessions of each kind."""
    columns = ("tools", "session", "ending", "prompt", "cached", "computed", "first token, s")
    rows = tuple(
        (kind, name, *_row(one))
        for kind, sessions in played.items()
        for name, found in zip(("first", "second"), sessions, strict=True)
        for one in found
    )
    return Table(title="By the server's log", columns=columns, rows=rows)


def _row(one: Served) -> tuple[str, ...]:
    figures = (one.prompt, one.cached, one.computed)
    return (one.ending, *(f"{figure:,}" for figure in figures), f"{one.first_token_s:.1f}")


def run(bench: Bench) -> Part:
    """Play both sessions of each kind, each session on a server of its own, with one cache on disk for each kind."""
    played = {kind: sessions(bench, kind) for kind in KINDS}
    claims = [claim for kind, (first, second) in played.items() for claim in judge(kind, first, second)]
    return Part(tables=(table(played),), claims=tuple(claims))


def sessions(bench: Bench, kind: str) -> tuple[tuple[Served, ...], ...]:
    """Play both sessions of one of `KINDS`."""
    with tempfile.TemporaryDirectory(prefix="sessions-") as root:
        return tuple(_play(bench, kind, session, Path(root)) for session in _SESSIONS)


def _play(bench: Bench, kind: str, session: _Session, root: Path) -> tuple[Served, ...]:
    work, home = root / session.folder, root / f"home-{session.folder}"
    log = bench.folder / f"{kind.replace(' ', '-')}-{session.folder}.log"
    work.mkdir()
    for name, text in session.files.items():
        (work / name).write_text(text)
    trusting(home, work)
    server = bench.ours(context=_CONTEXT, home=f"home-{kind}")
    with running(server, cores=bench.cores, log=log):
        target = Target(url=server.url, token=None, model=default_model(server), context_tokens=_CONTEXT)
        launch = plan_launch(target, (), status_line="true")
        program = bench.claude or installed()
        with opened(program, launch, home=home, work=work, more=KINDS[kind]) as terminal:
            terminal.type(session.words)
            terminal.wait_until(lambda: len(_requests(log)) > 0, "an answer", bound_s=_BOUND_S)
    return _requests(log)


def _requests(log: Path) -> tuple[Served, ...]:
    return served(log.read_text("utf-8", "replace").splitlines())


SCENARIO = Scenario(
    name="interactive",
    shows="all tools of the interactive Claude Code: the first session, and one elsewhere after a restart",
    run=run,
    coder_only=True,
    by_name_only=True,
)
