"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from simulator.policies import Policy
from simulator.sweep import Result

__all__ = ["table", "tables"]

_COLUMNS: dict[str, Callable[[Result], str]] = {
    "pool, tokens": lambda result: f"{result.case.setting.cells:,}",
    "policy": lambda result: result.case.policy,
    "requests": lambda result: f"{result.outcome.requests}",
    "hit ratio": lambda result: f"{result.outcome.hit_ratio:.4f}",
    "oracle": lambda result: f"{result.outcome.oracle_ratio:.4f}",
    "of the oracle's": lambda result: f"{result.outcome.of_oracle:.4f}",
    "prefilled, of the least": lambda result: f"{result.outcome.effort:.2f}",
    "evictions": lambda result: f"{result.outcome.evictions}",
    "preemptions": lambda result: f"{result.outcome.preemptions}",
    "TTFT s, median": lambda result: f"{result.outcome.ttft_quantile(0.5):.0f}",
    "90 %": lambda result: f"{result.outcome.ttft_quantile(0.9):.0f}",
    "99 %": lambda result: f"{result.outcome.ttft_quantile(0.99):.0f}",
    "steps": lambda result: f"{result.outcome.steps:,}",
    "rows decoded": lambda result: f"{result.outcome.decode_steps:,}",
    "simulated h": lambda result: f"{result.outcome.simulated_s / 3600:.0f}",
}


def table(results: Iterable[Result]) -> str:
    """Return one line for each result."""
    head = [f"| {' | '.join(_COLUMNS)} |", "|" + "---|" * len(_COLUMNS)]
    lines = [f"| {' | '.join(read(result) for read in _COLUMNS.values())} |" for result in results]
    return "\n".join([*head, *lines])


def tables(results: Sequence[Result]) -> str:
    """Return a table for each number of sessions, and where ours stands in it."""
    sections = []
    for sessions in sorted({result.case.setting.sessions for result in results}):
        part = [result for result in results if result.case.setting.sessions == sessions]
        title = "One session at a time" if sessions == 1 else f"{sessions} sessions at once"
        sections.append(f"## {title}\n\n{table(part)}\n\n{_verdict(part)}")
    return "\n\n".join(sections)


def _verdict(results: Sequence[Result]) -> str:
    """Say at which pool sizes ours is not the best."""
    sizes: dict[int, dict[Policy, float]] = {}
    for result in results:
        sizes.setdefault(result.case.setting.cells, {})[result.case.policy] = result.outcome.hit_ratio
    beaten = {
        cells: [other for other, ratio in ratios.items() if ratio > ratios[Policy.WORTH]]
        for cells, ratios in sizes.items()
        if Policy.WORTH in ratios
    }
    lost = [f"{cells:,} ({', '.join(others)})" for cells, others in beaten.items() if others]
    return f"Another policy has the higher hit ratio at: {'; '.join(lost) or 'no pool size'}."
