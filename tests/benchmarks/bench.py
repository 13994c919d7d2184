"""Pensieve beside llama-server of the same llama.cpp: same GGUF, same threads, interleaved A/B/A, over HTTP.

    python tests/benchmarks/bench.py --llama-server PATH [--model GGUF ...] [--cores 0,1] [--rounds 3]

Prints a table, and with --report writes it to a file. Ratios count, not seconds: machines are noisy, which is why
each round asks both servers in turn. One server runs at a time, on the same cores.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
from client import Timeline, ask
from servers import Server, llama_server, pensieve, running

_CONTEXT = 8192
_DECODE_TOKENS = 160
_PREFILL_WORDS = 1500


@attrs.frozen(kw_only=True)
class Figures:
    """What one server did in one round."""

    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    cold_first_token_s: float
    warm_first_token_s: float


_METRICS: tuple[tuple[str, Callable[[Figures], float], bool], ...] = (
    ("prefill tok/s", lambda f: f.prefill_tokens_per_s, True),
    ("decode tok/s", lambda f: f.decode_tokens_per_s, True),
    ("cold TTFT s", lambda f: f.cold_first_token_s, False),
    ("warm TTFT s", lambda f: f.warm_first_token_s, False),
)


def measure(server: Server, salt: str) -> Figures:
    """Ask a cold long prompt, the same again with a few words more, and a long answer."""
    long = _long_prompt(salt)
    cold = ask(server.port, long, max_tokens=4)
    warm = [ask(server.port, long + f" Also say {word}.", max_tokens=4) for word in ("why", "how", "when")]
    decode = [_answer(server, salt, i) for i in range(2)]
    return Figures(
        prefill_tokens_per_s=cold.prefill_tokens_per_s,
        decode_tokens_per_s=statistics.median(timeline.decode_tokens_per_s for timeline in decode),
        cold_first_token_s=cold.first_token_s,
        warm_first_token_s=statistics.median(timeline.first_token_s for timeline in warm),
    )


def compare(servers: list[Callable[[], Server]], rounds: int, cores: str | None) -> dict[str, list[Figures]]:
    """Run A/B/A…: each round every server once, the first one once more at the end."""
    figures: dict[str, list[Figures]] = {}
    for number, make in enumerate(_interleaved(servers, rounds)):
        with tempfile.TemporaryDirectory() as folder:
            server = make()
            with running(server, cores=cores, log=Path(folder) / "log") as up:
                ask(up.port, "Hello", max_tokens=4)
                result = measure(up, f"run {number}")
        figures.setdefault(server.name, []).append(result)
        print(f"  {server.name}: {result}", file=sys.stderr, flush=True)
    return figures


def table(model: str, figures: dict[str, list[Figures]]) -> str:
    """Return the medians side by side, in Markdown; the ratio is how much better the first server is."""
    ours, theirs = list(figures)
    lines = [f"| {model} | {ours} | {theirs} | ratio |", "|---|---|---|---|"]
    for name, read, more_is_better in _METRICS:
        mine, other = (statistics.median(read(f) for f in figures[key]) for key in (ours, theirs))
        ratio = mine / other if more_is_better else other / mine
        lines.append(f"| {name} | {mine:.3g} | {other:.3g} | {ratio:.2f} |")
    return "\n".join(lines)


def _interleaved(servers: list[Callable[[], Server]], rounds: int) -> Iterator[Callable[[], Server]]:
    for _ in range(rounds):
        yield from servers
    yield servers[0]


def _answer(server: Server, salt: str, number: int) -> Timeline:
    prompt = f"({salt}, {number}) Write a long story about a lighthouse keeper, his dog, and the sea."
    return ask(server.port, prompt, max_tokens=_DECODE_TOKENS)


def _long_prompt(salt: str) -> str:
    words = " ".join(f"item{i % 97} is {'red' if i % 3 else 'blue'}," for i in range(_PREFILL_WORDS // 3))
    return f"{salt}. Here is a list: {words} Which items are blue?"


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-server", type=Path, required=True)
    parser.add_argument("--model", type=Path, action="append", required=True)
    parser.add_argument("--cores", help="pin the servers, as taskset writes it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    tables = []
    for model in options.model:
        size = {"threads": options.threads, "context": _CONTEXT}
        servers: list[Callable[[], Server]] = [
            lambda model=model, size=size: pensieve(model, **size),  # type: ignore[misc]
            lambda model=model, size=size: llama_server(options.llama_server, model, **size),  # type: ignore[misc]
        ]
        tables.append(table(model.stem, compare(servers, options.rounds, options.cores)))
        print(tables[-1], flush=True)
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        head = f"# Benchmark, {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}\n\n{_machine()}\n\n"
        command = f"    {' '.join(['python', *sys.argv])}\n\n"
        options.report.write_text(head + command + "\n\n".join(tables) + "\n")


if __name__ == "__main__":
    main()
