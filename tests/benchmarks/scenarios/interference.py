"""One client is streamed to while another's long prompt is computed: how long does the first wait for its next word?"""

from __future__ import annotations

import itertools
import statistics
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import attrs
from client import Reading, Timeline, question, send
from scenario import Bench, Claim, Part, Scenario, Table
from servers import Server
from texts import listing

__all__ = ["SCENARIO", "Gaps", "gaps", "judge", "table"]

_CONTEXT = 8192
_ITEMS = 340
"""Some 3,000 tokens."""
_ANSWER_TOKENS = 24
_STREAM_TOKENS = 3_000
_LONE_PIECES = 80
_MOST = 4.0
_SAME_PACKET_S = 0.001
_STORY = "Write down the numbers from one to one thousand in words, one on each line, and leave none out."


@attrs.frozen(kw_only=True)
class Gaps:
    """Seconds between pieces of a stream: while it was alone, and while another's prompt was computed."""

    server: str
    alone: tuple[float, ...]
    during: tuple[float, ...]
    intruder: Timeline

    @property
    def lone_median(self) -> float:
        """The usual gap."""
        return statistics.median(self.alone)

    @property
    def p99(self) -> float:
        """The gap that one in a hundred exceeds, while the other's prompt is computed."""
        return percentile(self.during, 0.99)


def gaps(server: str, stream: Timeline, intruder: Timeline) -> Gaps:
    """Tell the gaps of `stream` apart: those that the prefill of `intruder` touches, and those before."""
    stamps = arrivals([stream.sent_at + stamp for stamp in stream.stamps])
    began, ended = intruder.sent_at, intruder.sent_at + intruder.first_token_s
    pairs = list(itertools.pairwise(stamps))
    return Gaps(
        server=server,
        alone=tuple(after - before for before, after in pairs if after <= began),
        during=tuple(after - before for before, after in pairs if after > began and before < ended),
        intruder=intruder,
    )


def arrivals(stamps: Sequence[float]) -> list[float]:
    """Return when something came: pieces that one packet brought are one arrival."""
    kept: list[float] = []
    for stamp in stamps:
        if not kept or stamp - kept[-1] >= _SAME_PACKET_S:
            kept.append(stamp)
    return kept


def percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest of `values` that at least `part` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def judge(ours: Gaps) -> tuple[Claim, ...]:
    """Hold Pensieve's stream against what a reader bears."""
    ratio = ours.p99 / ours.lone_median
    return (
        Claim(
            text=f"the 99th percentile of the gaps is at most {_MOST:.0f} times the lone median",
            measured=f"{ratio:.1f} times",
            holds=ratio <= _MOST,
        ),
    )


def table(found: Sequence[Gaps]) -> Table:
    """Return the gaps of each server."""
    columns = ("server", "lone median", "during: gaps", "p50", "p99", "longest", "intruder computed", "its TTFT")
    return Table(title="Gaps between pieces of the stream", columns=columns, rows=tuple(map(_row, found)))


def _row(one: Gaps) -> tuple[str, ...]:
    figures = (statistics.median(one.during), one.p99, max(one.during))
    return (
        one.server,
        f"{one.lone_median * 1e3:.1f} ms",
        str(len(one.during)),
        *(f"{figure * 1e3:.0f} ms" for figure in figures),
        str(one.intruder.computed_tokens),
        f"{one.intruder.first_token_s:.1f} s",
    )


def run(bench: Bench) -> Part:
    """Disturb a stream of one server, then of the other; both are up, and the one not asked computes nothing."""
    ours, theirs = bench.ours(context=_CONTEXT), bench.theirs(context=_CONTEXT)
    with bench.up(ours, theirs):
        found = [_disturbed(server) for server in (ours, theirs)]
    return Part(
        tables=(table(found),),
        claims=judge(found[0]),
        notes=("Pieces that came together count as one: what comes fast Pensieve sends some thirty times a second.",),
    )


def _disturbed(server: Server) -> Gaps:
    alone, enough = threading.Event(), threading.Event()

    def watch(reading: Reading) -> bool:
        if reading.pieces > _LONE_PIECES:
            alone.set()
        return enough.is_set()

    with ThreadPoolExecutor(1) as threads:
        stream = threads.submit(send, server.port, question(_STORY, max_tokens=_STREAM_TOKENS), watch=watch)
        stream.add_done_callback(lambda _: alone.set())
        alone.wait()
        try:
            intruder = send(server.port, question(listing("intruder", _ITEMS), max_tokens=_ANSWER_TOKENS))
        finally:
            enough.set()
        return gaps(server.name, stream.result(), intruder)


SCENARIO = Scenario(name="interference", shows="a stream beside another's long prompt: gaps between its words", run=run)
