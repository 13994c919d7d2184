"""What a scenario is, and what it has to say.

A scenario is a function from a `Bench` to a `Part` of the report, with a name and a sentence. It deliberately does not
know of command lines, files and dates: that is `bench`.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
from servers import Server, llama_server, pensieve, running

__all__ = ["Bench", "Claim", "Part", "Scenario", "Table"]


@attrs.frozen(kw_only=True)
class Claim:
    """A sentence that has to hold of Pensieve, and whether it does."""

    text: str
    measured: str
    holds: bool


@attrs.frozen(kw_only=True)
class Table:
    """Figures under a heading; the cells are text already."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@attrs.frozen(kw_only=True)
class Part:
    """What one scenario found with one model."""

    tables: tuple[Table, ...]
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences that a reader of the figures needs."""


@attrs.frozen(kw_only=True)
class Bench:
    """Where scenarios run: one model, two programs, some cores, and a folder that is removed afterwards."""

    model: Path
    llama_server: Path
    folder: Path
    threads: int = 2
    cores: str | None = None
    rounds: int = 1
    further: tuple[str, ...] = ()
    """Options of Pensieve in every scenario."""
    claude: Path | None = None
    """Claude Code; None: the one that `make e2e` has installed."""
    _logs: Iterator[int] = attrs.field(factory=itertools.count, repr=False, eq=False)

    def ours(self, *options: str, context: int, name: str = "pensieve", home: str = "home") -> Server:
        """Return Pensieve; what it keeps on disk lies in `home`, so that servers with the same `home` share it."""
        options = (*self.further, *options)
        server = pensieve(self.model, *options, threads=self.threads, context=context, cache=self.folder / home)
        return attrs.evolve(server, name=name)

    def theirs(self, *options: str, context: int, name: str = "llama-server") -> Server:
        """Return llama-server."""
        server = llama_server(self.llama_server, self.model, *options, threads=self.threads, context=context)
        return attrs.evolve(server, name=name)

    @contextlib.contextmanager
    def up(self, *servers: Server) -> Iterator[None]:
        """Run all `servers` at once until the block ends."""
        with contextlib.ExitStack() as stack:
            for server in servers:
                log = self.folder / f"{next(self._logs)}-{server.name}.log"
                stack.enter_context(running(server, cores=self.cores, log=log))
            yield


@attrs.frozen(kw_only=True)
class Scenario:
    """One comparison."""

    name: str
    shows: str
    """A sentence, for `--scenario list`."""
    run: Callable[[Bench], Part]
    coder_only: bool = False
    """Whether the small starter model would show nothing."""
    by_name_only: bool = False
    """Whether `all` leaves it out: it takes a machine that is not everyone's."""
