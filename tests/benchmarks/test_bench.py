from __future__ import annotations

from pathlib import Path

import bench
import pytest
from scenarios import SCENARIOS

STARTER, CODER = Path("SmolLM2.gguf"), Path("qwen2.5-coder.gguf")


def test_without_a_name_the_single_stream_is_measured() -> None:
    assert [scenario.name for scenario in bench.chosen([])] == ["single"]


def test_all_means_all_and_names_mean_themselves_in_their_order() -> None:
    assert [scenario.name for scenario in bench.chosen(["all"])] == [
        name for name in SCENARIOS if name not in {"fleet", "interactive", "tasks"}
    ]
    assert [scenario.name for scenario in bench.chosen(["tight", "agents"])] == ["tight", "agents"]


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(SystemExit, match=r"unknown scenario: nonsense; there are .*conversation"):
        bench.chosen(["conversation", "nonsense"])


def test_a_scenario_that_shows_nothing_with_a_small_model_runs_with_the_coder_alone() -> None:
    installed = [STARTER, CODER]
    assert bench.models_for(SCENARIOS["agents"], [], installed) == [CODER]
    assert bench.models_for(SCENARIOS["conversation"], [], installed) == installed
    assert bench.models_for(SCENARIOS["agents"], [STARTER], installed) == [STARTER]


def test_a_part_is_put_into_the_report_and_minus_means_none(tmp_path: Path) -> None:
    report = tmp_path / "new" / "report.md"
    bench.keep("## a, m\n\none\n", str(report))
    bench.keep("## b, m\n\ntwo\n", str(report))
    bench.keep("## c, m\n\nthree\n", "-")
    assert [line for line in report.read_text().splitlines() if line.startswith("## ")] == ["## a, m", "## b, m"]
    assert report.read_text().startswith("# Benchmark, 20")


def test_each_scenario_says_what_it_shows() -> None:
    assert all(len(scenario.shows) > 20 for scenario in SCENARIOS.values())
