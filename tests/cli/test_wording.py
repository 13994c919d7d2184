from __future__ import annotations

from pensieve_cli.wording import counted, megabytes


def test_sizes_are_those_on_the_label() -> None:
    assert megabytes(98_123_456) == "98 MB"
    assert megabytes(1_117_320_736) == "1.1 GB"


def test_one_thing_is_not_many() -> None:
    assert [counted(number, "key") for number in (0, 1, 2_000)] == ["0 keys", "1 key", "2,000 keys"]
