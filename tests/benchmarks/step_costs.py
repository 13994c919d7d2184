"""What a step costs by its width: t(n) for n rows of one sequence, at a given depth of context.

    python tests/benchmarks/step_costs.py MODEL.gguf [--depth 4096] [--gpu-layers N] [--threads N] [--json FILE]

Runs in this process, on a GPU where llama.cpp was built for one. Widths alternate, so that a machine that slows down
slows all of them; the median counts. The logits after every row are fetched, as drafts need them. Prints a table, and
with --json writes what `drafted.py --step-costs` reads.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from array import array
from pathlib import Path

from pensieve_gguf.cores import usable_cores
from pensieve_gguf.llama import Context, ContextShape, DecodeOutcome, Model, Rows, gpus, version

_WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)
_BATCH = 512
_TEXT = "The keeper counted the ships: one, two, three, and wrote them down in a book with a blue cover. "


def measure(context: Context, depth: int, rounds: int) -> dict[int, float]:
    """Return rows → seconds of a decode, the median of `rounds`; one more round before is not counted."""
    ids = _ids(context.model, depth + max(_WIDTHS))
    for start in range(0, depth, _BATCH):
        _decode(context, Rows(slot=0, start=start, tokens=ids[start : min(start + _BATCH, depth)], wants_logits=False))
    readings: dict[int, list[float]] = {width: [] for width in _WIDTHS}
    for _ in range(rounds + 1):
        for width, seconds in readings.items():
            seconds.append(_timed(context, depth, ids[depth : depth + width]))
    return {width: statistics.median(seconds[1:]) for width, seconds in readings.items()}


def table(seconds: dict[int, float]) -> str:
    """Return t(n) in Markdown, and over t(1)."""
    lines = ["| rows | ms | t(n) / t(1) | ms a row |", "|---|---|---|---|"]
    for width, one in seconds.items():
        lines.append(f"| {width} | {one * 1e3:.2f} | {one / seconds[1]:.2f} | {one / width * 1e3:.2f} |")
    return "\n".join(lines)


def _timed(context: Context, depth: int, tokens: array[int]) -> float:
    began = time.perf_counter()
    _decode(context, Rows(slot=0, start=depth, tokens=tokens, wants_logits=True, drafted=len(tokens) - 1))
    elapsed = time.perf_counter() - began
    context.cut(0, depth)
    return elapsed


def _decode(context: Context, rows: Rows) -> None:
    outcome, _ = context.decode([rows])
    if outcome is not DecodeOutcome.DONE:
        msg = f"the decode was not done: {outcome}"
        raise RuntimeError(msg)


def _ids(model: Model, count: int) -> array[int]:
    once = model.tokenize(_TEXT)
    return array("i", (once.tolist() * (count // len(once) + 1))[:count])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--depth", type=int, default=1024, help="tokens in the cache before")
    parser.add_argument("--gpu-layers", type=int, help="all of them where that is not said")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    return parser.parse_args()


def main() -> int:
    """Measure, print."""
    options = _options()
    model = Model(options.model, gpu_layers=options.gpu_layers)
    cells = options.depth + max(_WIDTHS)
    shape = ContextShape(
        cells=cells, sequences=1, batch_tokens=_BATCH, threads=options.threads, drafted=max(_WIDTHS) - 1
    )
    seconds = measure(Context(model, shape), options.depth, options.rounds)
    report = {
        "model": options.model.name,
        "depth": options.depth,
        "machine": ", ".join(
            [platform.machine(), f"{options.threads} threads", *(gpu.name for gpu in gpus()), version()]
        ),
        "seconds": seconds,
    }
    print(table(seconds))
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
