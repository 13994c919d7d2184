"""Ours: a setting that makes no sense is told where it is made, not by a C assert in the worker."""

from __future__ import annotations

from typing import Any

import pytest

from pensieve_gguf import GgufSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("context_tokens", 0),
        ("threads", 0),
        ("gpu_layers", -2),
        ("kv_type", "f32"),
        ("max_running", 0),
        ("max_queued", -1),
        ("max_resident", 8),
        ("batch_tokens", 15),
        ("stretch", 1.0),
        ("stretch", float("nan")),
        ("spawn_timeout_s", 0.0),
        ("stall_timeout_s", -1.0),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        GgufSettings(**{name: value})


@pytest.mark.parametrize(
    "values",
    [
        {"context_tokens": 1, "threads": 1, "gpu_layers": -1, "max_queued": 0},
        {"max_running": 16, "batch_tokens": 16, "max_resident": 17},
    ],
)
def test_the_smallest_values_that_make_sense_are_taken(values: dict[str, int]) -> None:
    settings = GgufSettings(**values)  # type: ignore[arg-type]
    assert {name: getattr(settings, name) for name in values} == values


def test_more_may_not_run_than_have_a_row_in_a_batch() -> None:
    with pytest.raises(ValueError, match=r"'batch_tokens' \(16\) must be >= 'max_running' \(17\)"):
        GgufSettings(batch_tokens=16, max_running=17)
