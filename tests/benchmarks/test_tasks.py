from __future__ import annotations

from typing import Any

import pytest
from scenarios.tasks import Play, judge, prefilled, tables


def play(**more: Any) -> Play:
    usual = {"server": "pensieve", "task": "edit", "solved": True, "reason": "", "seconds": 9.6, "turns": 3}
    return Play(**{**usual, "prefilled": 1_234, "ended": True, **more})


THEIRS = play(server="llama-server", solved=False, reason="NameError", prefilled=9_000)


def test_each_play_stands_beside_the_other_servers() -> None:
    sums, single = tables([play()], [THEIRS])
    assert sums.rows == (
        ("pensieve", "1", "1", "0", "10", "3", "1,234"),
        ("llama-server", "0", "1", "0", "10", "3", "9,000"),
    )
    assert single.rows == (("edit", "solved", "10", "3", "1,234", "no", "10", "3", "9,000"),)


def test_out_of_time_is_told_apart_from_wrong() -> None:
    assert play(solved=False, ended=False).outcome == "no, out of time"
    assert play(solved=False).outcome == "no"
    assert play(solved=True, ended=False).outcome == "solved"  # what it left behind works


@pytest.mark.parametrize(("ours", "theirs", "holds"), [(True, False, True), (True, True, True), (False, True, False)])
def test_pensieve_has_to_solve_as_many_as_llama_server(*, ours: bool, theirs: bool, holds: bool) -> None:
    (claim,) = judge([play(solved=ours)], [play(solved=theirs)])
    assert claim.holds is holds
    assert claim.measured == f"{int(ours)} of 1, {int(theirs)} of 1"


def test_prefilled_tokens_are_read_from_the_metrics_of_either_server() -> None:
    ours = (
        '# HELP pensieve_tokens_total Tokens\npensieve_tokens_total{model="a",work="reused"} 50.0\n'
        'pensieve_tokens_total{model="a",work="prefilled"} 12.0\n'
        'pensieve_tokens_total{model="b",work="prefilled"} 1e3\n'
    )
    theirs = "llamacpp:prompt_tokens_total 4711\nllamacpp:prompt_seconds_total 1.5\n"
    assert (prefilled(ours), prefilled(theirs), prefilled("")) == (1_012, 4_711, 0)
