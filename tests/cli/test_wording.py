from __future__ import annotations

import pytest

from pensieve_cli.wording import counted, duration, lately, megabytes, soon


def test_sizes_are_those_on_the_label() -> None:
    assert megabytes(98_123_456) == "98 MB"
    assert megabytes(1_117_320_736) == "1.1 GB"


def test_one_thing_is_not_many() -> None:
    assert [counted(number, "key") for number in (0, 1, 2_000)] == ["0 keys", "1 key", "2,000 keys"]


def test_times_are_as_coarse_as_they_are_long_ago() -> None:
    ages = [0, 59, 60, 3_599, 3_600, 2 * 86_400 - 1, 2 * 86_400, 100 * 86_400, -5]
    assert [lately(age) for age in ages] == [
        "now",
        "now",
        "1 min ago",
        "59 min ago",
        "1 h ago",
        "47 h ago",
        "2 days ago",
        "100 days ago",
        "now",
    ]


def test_what_is_to_come_is_told_as_what_was() -> None:
    assert [soon(seconds) for seconds in (-5, 59, 60, 7_200, 9 * 86_400)] == [
        "now",
        "now",
        "in 1 min",
        "in 2 h",
        "in 9 days",
    ]


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (150, "2 min 30 s"), (11_100, "3 h 5 min")])
def test_durations_are_told_in_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words
