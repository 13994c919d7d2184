"""Ten small coding tasks, worked on by the real Claude Code: how many are solved, at what cost?

Both servers are up; each task is played on one and then on the other, the one first that was second before. Same
model, same flags and variables (the launcher's lean ones), same sampling (the API has no seed; llama-server is given
Pensieve's temperature), same time. Before the first task each server answers one "hello", so that the head is computed
on both: a task's time is not the head's. The model runs what it likes, with the rights of who runs this.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import attrs
from claude_code import ClaudeCode, installed
from scenario import Bench, Claim, Part, Scenario, Table
from servers import Server, default_model
from task import Task, judged, laid_out, load_tasks

__all__ = ["SCENARIO", "Play", "judge", "prefilled", "tables"]

_CONTEXT = 32_768
_TEMPERATURE = "0.7"
_BOUND_S = 120.0
_WARM_BOUND_S = 600.0
_SCRAPE_S = 600.0
_PREFILLED = re.compile(
    r'^(?:llamacpp:prompt_tokens_total|pensieve_tokens_total\{[^}]*work="prefilled"[^}]*\}) (\S+)', re.MULTILINE
)


@attrs.frozen(kw_only=True)
class Play:
    """One task on one server."""

    server: str
    task: str
    solved: bool
    reason: str
    seconds: float
    turns: int
    prefilled: int
    """Tokens of prompts computed, of requests that were answered to their end."""
    ended: bool

    @property
    def outcome(self) -> str:
        """In a word or two."""
        return "solved" if self.solved else ("no" if self.ended else "no, out of time")


@attrs.frozen(kw_only=True)
class _Stage:
    """Where tasks are played: a server, and Claude Code on it."""

    server: Server
    claude: ClaudeCode
    folder: Path

    def play(self, task: Task, name: str) -> Play:
        """Let Claude Code work on `task`, and judge; what came of it is kept in the folder `name`."""
        with tempfile.TemporaryDirectory(prefix="task-") as root:  # a short path, for it stands in the prompt
            play = self._play(task, Path(root))
            shutil.copytree(root, self.folder / name)
        return play

    def _play(self, task: Task, folder: Path) -> Play:
        (folder / "work").mkdir()
        laid_out(task.start, folder / "work")
        before = _scraped(self.server)
        seen = self.claude.run(task.prompt, folder=folder, bound_s=_BOUND_S)
        verdict = judged(task, folder / "work", seen.answer)
        return Play(
            server=self.server.name,
            task=task.name,
            solved=verdict.solved,
            reason=verdict.reason,
            seconds=seen.seconds,
            turns=seen.turns,
            prefilled=_scraped(self.server) - before,
            ended=seen.ended,
        )

    def greet(self) -> None:
        """Have the head computed."""
        with tempfile.TemporaryDirectory(prefix="task-") as root:
            (Path(root) / "work").mkdir()
            self.claude.run("Say hello.", folder=Path(root), bound_s=_WARM_BOUND_S)


def prefilled(metrics: str) -> int:
    """Return how many tokens of prompts a server has computed, by what it says at `/metrics`."""
    return round(sum(float(number) for number in _PREFILLED.findall(metrics)))


def _scraped(server: Server) -> int:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=_SCRAPE_S) as answer:
        return prefilled(answer.read().decode())


def judge(ours: Sequence[Play], theirs: Sequence[Play]) -> tuple[Claim, ...]:
    """Hold Pensieve's plays against llama-server's."""
    own, other = _solved(ours), _solved(theirs)
    return (
        Claim(
            text="Pensieve solves at least as many as llama-server",
            measured=f"{own} of {len(ours)}, {other} of {len(theirs)}",
            holds=own >= other,
        ),
    )


def _solved(plays: Sequence[Play]) -> int:
    return sum(play.solved for play in plays)


def tables(ours: Sequence[Play], theirs: Sequence[Play]) -> tuple[Table, ...]:
    """Return the sums, and the plays one by one."""
    sums = Table(
        title="All together",
        columns=("server", "solved", "of", "out of time", "seconds", "turns", "tokens prefilled"),
        rows=tuple(_sums(plays) for plays in (ours, theirs)),
    )
    columns = (
        "task",
        *(f"{name}: {what}" for name in ("ours", "theirs") for what in ("outcome", "s", "turns", "tokens")),
    )
    rows = tuple((own.task, *_row(own), *_row(other)) for own, other in zip(ours, theirs, strict=True))
    return sums, Table(title="One by one", columns=columns, rows=rows)


def _sums(plays: Sequence[Play]) -> tuple[str, ...]:
    late = sum(not play.ended for play in plays)
    figures = (_solved(plays), len(plays), late)
    costs = (round(sum(play.seconds for play in plays)), sum(p.turns for p in plays), sum(p.prefilled for p in plays))
    return (plays[0].server, *(f"{figure:,}" for figure in (*figures, *costs)))


def _row(play: Play) -> tuple[str, ...]:
    return (play.outcome, f"{play.seconds:.0f}", str(play.turns), f"{play.prefilled:,}")


def run(bench: Bench) -> Part:
    """Play all tasks on both servers, in turn."""
    ours = bench.ours(context=_CONTEXT)
    theirs = bench.theirs("--metrics", "--temp", _TEMPERATURE, context=_CONTEXT)
    plays: dict[str, list[Play]] = {ours.name: [], theirs.name: []}
    with bench.up(ours, theirs):
        stages = [_stage(bench, server, default_model(ours)) for server in (ours, theirs)]
        for stage in stages:
            stage.greet()
        for number in range(bench.rounds):
            for task in load_tasks():
                for stage in stages:
                    play = stage.play(task, f"{number}-{task.name}")
                    plays[stage.server.name].append(play)
                    _tell(play)
                stages.reverse()
    own, other = plays[ours.name], plays[theirs.name]
    return Part(tables=tables(own, other), claims=judge(own, other), notes=_notes(own))


def _stage(bench: Bench, server: Server, model: str) -> _Stage:
    claude = ClaudeCode(program=bench.claude or installed(), url=server.url, model=model, context_tokens=_CONTEXT)
    return _Stage(server=server, claude=claude, folder=bench.folder / "plays" / server.name)


def _tell(play: Play) -> None:
    figures = f"{play.seconds:.0f} s, {play.turns} turns, {play.prefilled:,} tokens prefilled"
    print(f"  {play.task}, {play.server}: {play.outcome}; {figures}; {play.reason}", file=sys.stderr, flush=True)


def _notes(ours: Sequence[Play]) -> tuple[str, ...]:
    failed = [f"{play.task} ({play.reason})" for play in ours if not play.solved]
    limit = f"Each task had {_BOUND_S:.0f} s. Tokens of requests that were cut off are not counted."
    return (limit, *([f"Not solved by Pensieve: {'; '.join(failed)}."] if failed else []))


SCENARIO = Scenario(
    name="tasks",
    shows="ten small coding tasks of the real Claude Code: how many are solved, at what cost",
    run=run,
    coder_only=True,
    by_name_only=True,
)
