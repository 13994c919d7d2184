"""Which model suits a machine; what fits is said by a fake fit."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from hypothesis import given
from hypothesis import strategies as st

from pensieve_registry import CuratedModel, Foreseen, Machine, load_curated, recommend

GB = 10**9
ENTRIES = load_curated()
NAMED = {entry.name: entry for entry in ENTRIES}
SEEN = Foreseen(
    fits=True,
    whole_on_gpu=False,
    context_tokens=40_960,
    weights_bytes=6 * GB,
    context_bytes=2 * GB,
    further_bytes=3 * GB,
    free_bytes=16 * GB,
)


def chosen(changes: Mapping[str, Foreseen], *, fits: bool = False) -> str:
    """Return the name of what is recommended; models that are not named fit as `fits` says."""
    return recommend(ENTRIES, lambda model: changes.get(model.name, attrs.evolve(SEEN, fits=fits))).model.name


def test_the_largest_that_fits_is_recommended() -> None:
    assert chosen({}, fits=True) == "gpt-oss-120b"
    assert chosen({"qwen3.5-4b": SEEN, "qwen3.5-9b": SEEN}) == "qwen3.5-9b"


def test_only_what_the_catalog_recommends_is() -> None:
    assert chosen({"qwen2.5-coder-14b": SEEN, "qwen3.5-4b": SEEN}) == "qwen3.5-4b"


def test_what_lies_on_the_gpu_as_a_whole_goes_before_what_is_larger_and_does_not() -> None:
    on_gpu = attrs.evolve(SEEN, whole_on_gpu=True)
    assert chosen({"qwen3.5-4b": on_gpu, "qwen3.5-9b": SEEN}) == "qwen3.5-4b"
    assert chosen({"qwen2.5-coder-1.5b": on_gpu, "qwen3.5-9b": SEEN}) == "qwen3.5-9b", "a toy does not"


def test_dense_models_are_not_recommended_where_a_cpu_would_have_to_read_them() -> None:
    dense = attrs.evolve(NAMED["gpt-oss-120b"], active_b=100.0, name="dense")
    found = recommend([*ENTRIES, dense], lambda _: SEEN)
    assert found.model.name == "gpt-oss-120b"
    assert recommend([dense], lambda _: attrs.evolve(SEEN, whole_on_gpu=True)).model is dense


def test_where_nothing_fits_the_smallest_is_recommended_and_that_is_said() -> None:
    found = recommend(ENTRIES, lambda _: attrs.evolve(SEEN, fits=False, free_bytes=2 * GB))
    assert found.model.name == "qwen2.5-coder-1.5b"
    assert found.reason == (
        "no model fits into the 2.0 GB that are free on this machine now; qwen2.5-coder-1.5b takes the least: "
        "6.0 GB of weights, 2.0 for a context of 40,960 tokens, and 3.0 at most for all else"
    )


def test_the_reason_has_the_fits_figures_and_what_is_left() -> None:
    assert recommend(ENTRIES, lambda _: SEEN).reason == (
        "it is the best that fits into the 16.0 GB that are free on this machine now: 6.0 GB of weights, "
        "2.0 for a context of 40,960 tokens, and 3.0 at most for all else leave 5.0"
    )
    on_gpu = attrs.evolve(SEEN, whole_on_gpu=True, further_bytes=0)
    assert recommend(ENTRIES, lambda _: on_gpu).reason == (
        "it is the best that fits into the 16.0 GB that are free on the GPU now: 6.0 GB of weights and "
        "2.0 for a context of 40,960 tokens leave 8.0 for buffers and the screen"
    )


@given(st.sets(st.sampled_from(sorted(NAMED))), st.sets(st.sampled_from(sorted(NAMED))))
def test_what_does_not_fit_is_recommended_only_where_nothing_does(fitting: set[str], on_gpu: set[str]) -> None:
    def foresee(model: CuratedModel) -> Foreseen:
        return attrs.evolve(SEEN, fits=model.name in fitting, whole_on_gpu=model.name in on_gpu)

    found = recommend(ENTRIES, foresee)
    assert found.model.recommended
    if any(entry.recommended and entry.name in fitting for entry in ENTRIES):
        assert found.foreseen.fits
        assert found.model.name in fitting


def test_room_for_weights_of_which_nothing_else_is_known_is_a_share_of_the_memory_or_of_the_gpu() -> None:
    assert Machine(memory_bytes=16 * GB).room_bytes == 12 * GB
    assert Machine(memory_bytes=16 * GB, gpu_bytes=4 * GB).room_bytes == 12 * GB
    assert Machine(memory_bytes=16 * GB, gpu_bytes=25 * GB).room_bytes == 23 * GB
    assert Machine(memory_bytes=None).room_bytes is None
