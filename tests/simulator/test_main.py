"""Ours: the command, over the traces that are shipped."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulator.__main__ import main
from simulator.policies import Policy
from simulator.report import tables
from simulator.sweep import Case, Result, sweep
from simulator.world import Outcome, Setting


def result(policy: Policy, *, prefilled: int, cells: int = 1024, sessions: int = 1) -> Result:
    outcome = Outcome(requests=1, prompt=100, reusable=80, prefilled=prefilled, ttft_s=[1.0])
    setting = Setting(cells=cells, longest=1024, sessions=sessions)
    return Result(case=Case(traces=Path("none"), policy=policy, setting=setting), outcome=outcome)


def test_a_report_tells_the_ratios_and_where_ours_is_beaten() -> None:
    text = tables(
        [
            result(Policy.WORTH, prefilled=40),
            result(Policy.LRU_TREE, prefilled=30),
            result(Policy.WORTH, prefilled=20, cells=2048),
            result(Policy.LRU_TREE, prefilled=30, cells=2048),
        ]
    )
    assert "## One session at a time" in text
    assert "| 1,024 | worth | 1 | 0.6000 | 0.8000 | 0.7500 | 2.00 |" in text
    assert text.endswith("Another policy has the higher hit ratio at: 1,024 (lru-tree).")


def test_a_report_says_when_nobody_beats_ours() -> None:
    text = tables([result(Policy.WORTH, prefilled=20, sessions=4), result(Policy.LRU_TREE, prefilled=20, sessions=4)])
    assert text.startswith("## 4 sessions at once")
    assert text.endswith("at: no pool size.")


def test_a_report_without_ours_compares_with_nobody() -> None:
    assert tables([result(Policy.LRU_TREE, prefilled=20)]).endswith("at: no pool size.")


def test_halves_are_played_apart(synthetic: Path) -> None:
    setting = Setting(cells=65_536, longest=65_536)
    halves = [
        Case(traces=synthetic, half=half, policy=Policy.WORTH, setting=setting) for half in ("fitted", "judged", "all")
    ]
    fitted, judged, everything = [one.outcome.requests for one in sweep(halves, 1)]
    assert 0 < fitted < everything
    assert fitted + judged == everything


def test_the_command_prints_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.md"
    main(["--cells", "16384", "--sessions", "2", "--policies", "worth", "lru-slots-4", "--report", str(report)])
    printed = capsys.readouterr().out
    assert "## 2 sessions at once" in printed
    written = report.read_text(encoding="utf-8")
    assert written.startswith("# Simulated sessions, 20")
    assert 'make simulate ARGS="--cells 16384 --sessions 2' in written
    assert printed.strip() in written


def test_the_command_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the dependency group `plots` is not installed")
    picture = tmp_path / "picture.svg"
    main(["--cells", "8192", "16384", "--sessions", "1", "2", "--policies", "worth", "--plot", str(picture)])
    assert "</svg>" in picture.read_text(encoding="utf-8")
