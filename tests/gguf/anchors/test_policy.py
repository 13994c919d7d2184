"""Who goes first when there is not room for all; how much may be kept and written."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.anchors import Anchor, AnchorIdentity, AnchorKind, AnchorStore, Limits, Saved, State, default_budget
from pensieve_gguf.anchors.policy import victims
from pensieve_gguf.anchors.testing import FaultyFolder

Tokens: TypeAlias = "Callable[[int], array[int]]"
MakeState: TypeAlias = Callable[..., State]
OpenStore: TypeAlias = Callable[..., AnchorStore]
HEAD, TURN = AnchorKind.HEAD, AnchorKind.TURN
HOUR_S = 3_600.0


def _anchor(name: str, kind: AnchorKind = HEAD, used_at: float = 0.0, file_bytes: int = 100) -> Anchor:
    return Anchor(
        name=name,
        identity=b"",
        prefix=b"",
        length=1,
        kind=kind,
        conversation=b"",
        chunks=b"",
        file_bytes=file_bytes,
        created_at=0.0,
        used_at=used_at,
    )


def _names(anchors: list[Anchor], **need: Any) -> list[str] | None:
    chosen = victims(anchors, **{"bytes_needed": 0, "places_needed": 0, "now": 10 * HOUR_S, **need})
    return None if chosen is None else [anchor.name for anchor in chosen]


def test_nothing_goes_when_there_is_room() -> None:
    assert _names([_anchor("a")]) == []


def test_of_a_kind_the_least_recently_used_goes_first() -> None:
    anchors = [_anchor("new", used_at=9 * HOUR_S), _anchor("old", used_at=1.0), _anchor("older")]
    assert _names(anchors, bytes_needed=101) == ["older", "old"]


def test_a_head_outlives_turns_until_nobody_has_used_it_for_much_longer() -> None:
    now = 100 * HOUR_S
    turn = _anchor("turn", TURN, used_at=now - HOUR_S)
    assert _names([turn, _anchor("head", used_at=now - 7 * HOUR_S)], bytes_needed=1, now=now) == ["turn"]
    assert _names([turn, _anchor("head", used_at=now - 9 * HOUR_S)], bytes_needed=1, now=now) == ["head"]


def test_a_use_in_the_future_is_a_clock_that_was_set_back_and_counts_as_now() -> None:
    anchors = [_anchor("future", TURN, used_at=99 * HOUR_S), _anchor("now", TURN, used_at=10 * HOUR_S)]
    assert _names(anchors, places_needed=1) == ["now"]


def test_what_cannot_be_had_is_not_begun() -> None:
    assert _names([_anchor("a"), _anchor("b")], bytes_needed=201) is None
    assert _names([_anchor("a"), _anchor("b")], places_needed=3) is None


@given(sizes=st.lists(st.integers(1, 100), max_size=20), bytes_needed=st.integers(-10, 500), places=st.integers(-2, 10))
def test_no_more_goes_than_has_to(sizes: list[int], bytes_needed: int, places: int) -> None:
    anchors = [_anchor(str(i), AnchorKind(1 + i % 2), float(i), size) for i, size in enumerate(sizes)]
    chosen = victims(anchors, bytes_needed=bytes_needed, places_needed=places, now=50.0)
    if chosen is None:
        assert sum(sizes) < bytes_needed or len(sizes) < places
        return
    freed = [anchor.file_bytes for anchor in chosen]
    assert sum(freed) >= bytes_needed
    assert len(freed) >= places
    assert not freed or sum(freed[:-1]) < bytes_needed or len(freed[:-1]) < places


def test_the_default_is_20_gb_or_a_tenth_of_what_could_be_free() -> None:
    assert default_budget(10**12) == 20 * 10**9
    assert default_budget(90 * 10**9) == 9 * 10**9
    assert default_budget(80 * 10**9, kept_bytes=10 * 10**9) == 9 * 10**9


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="budget_bytes"):
        Limits(budget_bytes=-1)


# -- the store, held to it -----------------------------------------------------------------------------------------


def _lengths(store: AnchorStore, tokens: Tokens, *lengths: int) -> list[int]:
    found = [store.longest(tokens(length), at_least=length) for length in lengths]
    return [anchor.length for anchor in found if anchor is not None]


def test_the_folder_keeps_to_its_budget_and_the_least_valuable_goes(
    open_store: OpenStore, tokens: Tokens, state: MakeState, clock: SimpleNamespace, folder: Path
) -> None:
    store = open_store(budget_bytes=40_000)
    for length, kind in ((10, HEAD), (20, TURN), (30, HEAD)):
        assert store.save(tokens(length), state(length, 10_000), kind=kind, conversation=str(length)) is Saved.SAVED
        clock.now += 1.0
    used = store.longest(tokens(10))
    assert used is not None
    assert store.load(used, tokens(10)) is not None
    clock.now += 1.0
    assert store.save(tokens(40), state(40, 10_000), kind=HEAD) is Saved.SAVED
    assert _lengths(store, tokens, 10, 20, 30, 40) == [10, 30, 40], "the turn went first"
    assert store.save(tokens(50), state(50, 10_000), kind=HEAD) is Saved.SAVED
    assert _lengths(store, tokens, 10, 20, 30, 40, 50) == [10, 40, 50], "then what was not used"
    assert sum(path.stat().st_size for path in folder.glob("*.anchor")) <= 40_000


def test_a_use_counts_after_a_restart_too_even_when_the_index_is_lost(
    open_store: OpenStore, tokens: Tokens, state: MakeState, clock: SimpleNamespace, folder: Path
) -> None:
    first = open_store()
    for length in (10, 20):
        first.save(tokens(length), state(length, 10_000), kind=HEAD)
        clock.now += 1.0
    used = first.longest(tokens(10))
    assert used is not None
    assert first.load(used, tokens(10)) is not None
    first.close()
    for index in folder.glob("index-*"):
        index.unlink()
    clock.now += 1.0
    second = open_store(budget_bytes=25_000)
    assert second.save(tokens(30), state(30, 10_000), kind=HEAD) is Saved.SAVED
    assert _lengths(second, tokens, 10, 20, 30) == [10, 30]


def test_what_exceeds_the_budget_alone_is_not_kept_and_costs_nobody_his_place(
    open_store: OpenStore, tokens: Tokens, state: MakeState
) -> None:
    store = open_store(budget_bytes=20_000)
    store.save(tokens(10), state(1, 10_000), kind=HEAD)
    assert not store.wants(tokens(20), 20_000, kind=HEAD)
    assert store.save(tokens(20), state(2, 20_000), kind=HEAD) is Saved.NO_ROOM
    assert _lengths(store, tokens, 10, 20) == [10]


def test_a_turn_that_replaces_another_counts_as_its_growth_alone(
    open_store: OpenStore, tokens: Tokens, state: MakeState
) -> None:
    store = open_store(budget_bytes=25_000)
    store.save(tokens(10), state(1, 10_000), kind=HEAD)
    store.save(tokens(20), state(2, 10_000), kind=TURN)
    assert store.wants(tokens(30), 10_000, kind=TURN)
    assert store.save(tokens(30), state(3, 10_000), kind=TURN) is Saved.SAVED
    assert _lengths(store, tokens, 10, 20, 30) == [10, 30]


def test_the_budget_holds_though_another_store_saves_at_the_same_time(
    open_store: OpenStore, identity: AnchorIdentity, tokens: Tokens, clock: SimpleNamespace, folder: Path
) -> None:
    other = open_store(budget_bytes=25_000)
    faulty = FaultyFolder.open(folder)
    limits = Limits(budget_bytes=25_000, reserve_bytes=0, near_tokens=0)
    store = AnchorStore(faulty, identity, limits=limits, clock=lambda: clock.now)
    assert store.save(tokens(10), np.zeros(10_000, np.uint8), kind=HEAD) is Saved.SAVED

    def before(step: str) -> None:
        if step == "seal":
            clock.now += 1
            assert other.save(tokens(20), np.zeros(10_000, np.uint8), kind=HEAD) is Saved.SAVED

    faulty.before = before
    assert store.save(tokens(30), np.zeros(10_000, np.uint8), kind=HEAD) is Saved.SAVED
    assert _lengths(store, tokens, 10, 20, 30) == [20, 30]
    store.close()


def test_there_are_never_more_files_than_a_search_can_bear(
    open_store: OpenStore, tokens: Tokens, state: MakeState, clock: SimpleNamespace
) -> None:
    store = open_store(most_anchors=3)
    for length in range(10, 60, 10):
        assert store.save(tokens(length), state(length), kind=HEAD) is Saved.SAVED
        clock.now += 1.0
    assert _lengths(store, tokens, 10, 20, 30, 40, 50) == [30, 40, 50]


def test_no_more_is_written_within_an_hour_than_allowed_whoever_writes(
    open_store: OpenStore, tokens: Tokens, state: MakeState, clock: SimpleNamespace
) -> None:
    """Ours: a peer wrote 137 GB in one session."""
    store, other = open_store(bytes_per_hour=25_000), open_store(bytes_per_hour=25_000)
    assert store.save(tokens(10), state(1, 10_000), kind=HEAD) is Saved.SAVED
    clock.now += HOUR_S / 2
    assert other.save(tokens(20), state(2, 10_000), kind=HEAD) is Saved.SAVED
    assert not store.wants(tokens(30), 10_000, kind=HEAD)
    assert store.save(tokens(30), state(3, 10_000), kind=HEAD) is Saved.WRITTEN_ENOUGH
    clock.now += HOUR_S / 2 + 1
    assert store.wants(tokens(30), 10_000, kind=HEAD)
    assert store.save(tokens(30), state(3, 10_000), kind=HEAD) is Saved.SAVED
    assert store.save(tokens(40), state(4, 10_000), kind=HEAD) is Saved.WRITTEN_ENOUGH


def test_the_hours_last_byte_may_be_written(
    open_store: OpenStore, tokens: Tokens, state: MakeState, folder: Path
) -> None:
    assert open_store().save(tokens(10), state(1, 10_000), kind=HEAD) is Saved.SAVED
    (written,) = [path.stat().st_size for path in folder.glob("*.anchor")]
    others = array("i", [token + 1 for token in tokens(10)])
    too_little, enough = open_store(bytes_per_hour=2 * written - 1), open_store(bytes_per_hour=2 * written)
    assert too_little.save(others, state(2, 10_000), kind=HEAD) is Saved.WRITTEN_ENOUGH
    assert enough.save(others, state(2, 10_000), kind=HEAD) is Saved.SAVED


def test_the_hours_writes_are_not_forgotten_with_the_index(
    open_store: OpenStore, tokens: Tokens, state: MakeState, folder: Path
) -> None:
    first = open_store()
    first.save(tokens(10), state(1, 10_000), kind=HEAD)
    first.close()
    for index in folder.glob("index-*"):
        index.unlink()
    assert open_store(bytes_per_hour=15_000).save(tokens(20), state(2, 10_000), kind=HEAD) is Saved.WRITTEN_ENOUGH


def test_a_clock_that_is_set_back_does_not_stop_writing(
    open_store: OpenStore, tokens: Tokens, state: MakeState, clock: SimpleNamespace
) -> None:
    store = open_store(bytes_per_hour=15_000)
    clock.now += 10 * HOUR_S
    assert store.save(tokens(10), state(1, 10_000), kind=HEAD) is Saved.SAVED
    clock.now -= 5 * HOUR_S
    assert store.save(tokens(20), state(2, 10_000), kind=HEAD) is Saved.SAVED
