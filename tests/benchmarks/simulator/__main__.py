"""Simulate sessions over the scheduler and the prefix tree, at many pool sizes, beside what others do.

    make simulate ARGS="[--traces JSONL[.xz]] [--sessions 1 4] [--cells 65536 ...] [--half judged] [--report …md]"

Without --traces a tiny synthetic one is played. Prints a table; with --report it is written to a file, and with --plot
(needs the dependency group `plots`) a picture, too.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from simulator.machine import Machine
from simulator.policies import Policy
from simulator.report import tables
from simulator.sweep import Case, Result, sweep
from simulator.world import Setting

_SYNTHETIC = Path(__file__).with_name("synthetic.jsonl")
_CELLS = (24_576, 32_768, 49_152, 65_536, 81_920, 98_304, 131_072, 163_840, 196_608, 262_144, 393_216)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, default=_SYNTHETIC)
    parser.add_argument("--half", choices=("all", "fitted", "judged"), default="all", help="which traces are played")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 4], help="at once")
    parser.add_argument("--cells", type=int, nargs="+", default=_CELLS, help="pool sizes, tokens")
    parser.add_argument("--longest", type=int, default=65_536, help="longer prompts with their answers are refused")
    parser.add_argument("--slots", type=int, default=48, help="sequence ids of the tree")
    parser.add_argument("--policies", type=Policy, nargs="+", default=list(Policy), choices=list(Policy))
    parser.add_argument("--prefill", type=float, default=80.0, help="tokens/s at the start of a prompt")
    parser.add_argument("--prefill-later", type=float, default=36.0, help="tokens/s by token --later")
    parser.add_argument("--later", type=int, default=12_000)
    parser.add_argument("--decode", type=float, default=25.0, help="tokens/s")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--report", type=Path, help="write the tables to this file, too")
    parser.add_argument("--plot", type=Path, help="write a picture: .svg or .png")
    return parser.parse_args(arguments)


def _cases(options: argparse.Namespace) -> list[Case]:
    machine = Machine(
        prefill_start=options.prefill, prefill_later=options.prefill_later, later=options.later, decode=options.decode
    )
    settings = [
        Setting(cells=cells, longest=options.longest, sessions=sessions, slots=options.slots, machine=machine)
        for sessions in options.sessions
        for cells in options.cells
    ]
    return [
        Case(traces=options.traces, half=options.half, policy=policy, setting=setting)
        for setting in settings
        for policy in options.policies
    ]


def _progress(result: Result) -> Result:
    setting = result.case.setting
    where = f"{setting.sessions} at once, {setting.cells:,} cells, {result.case.policy}"
    print(f"  {where}: {result.outcome.hit_ratio:.4f}", file=sys.stderr, flush=True)
    return result


def _head(arguments: Sequence[str]) -> str:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    command = f'    make simulate ARGS="{" ".join(arguments)}"'
    return f"# Simulated sessions, {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}\n\n{machine}\n\n{command}\n\n"


def main(arguments: Sequence[str]) -> None:
    """Simulate, print, report."""
    options = _options(arguments)
    results = [_progress(result) for result in sweep(_cases(options), options.processes)]
    text = tables(results) + "\n"
    print(text)
    if options.report:
        options.report.write_text(_head(arguments) + text, encoding="utf-8")
    if options.plot:
        from simulator.plot import draw  # noqa: PLC0415 - matplotlib is not in the default environment

        draw(results, options.plot)


if __name__ == "__main__":
    main(sys.argv[1:])
