"""Ours: design 2, "Disk tier": what begins alike serves as far as it does, and nothing else is ever put in."""

from __future__ import annotations

import contextlib
import tempfile
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pensieve_gguf.anchors import AnchorIdentity, AnchorKind, AnchorStore, Limits, State
from pensieve_gguf.engine.candidates import IN_VAIN_ON_CPU, IN_VAIN_ON_GPU, Loaded, candidates_for, load_best
from pensieve_gguf.engine.tree import common_prefix

IDENTITY = AnchorIdentity(
    model="a model", build="a commit", state_version=2, key_type="f16", value_type="f16", flash_attention=True
)
LONGEST = 10_000


def upto(length: int, *, other_from: int = 1 << 30) -> array[int]:
    """Return a prompt of so many tokens that is another one from some token on."""
    return array("i", [token if token < other_from else -token for token in range(length)])


def state_of(tokens: array[int]) -> State:
    """Return a state that tells which tokens it is of."""
    return np.frombuffer(tokens, np.uint8).copy()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnchorStore]:
    limits = Limits(budget_bytes=10**9, reserve_bytes=0)
    opened = AnchorStore.open(tmp_path / "anchors", IDENTITY, limits=limits, clock=lambda: 1_000.0)
    assert opened is not None
    with contextlib.closing(opened):
        yield opened


@pytest.fixture
def load(store: AnchorStore) -> Callable[..., Loaded | None]:
    """Look a prompt up, and read what serves it best."""

    def load(
        prompt: array[int],
        *,
        at_least: int = 256,
        in_part: bool = True,
        longest: int = LONGEST,
        in_vain: int = IN_VAIN_ON_GPU,
    ) -> Loaded | None:
        found = candidates_for(store, prompt, longest=longest, in_part=in_part)
        if found is None or found.at_most < at_least:
            return None
        return load_best(store, found, prompt, at_least=at_least, in_part=in_part, in_vain=in_vain)

    return load


def save(store: AnchorStore, tokens: array[int]) -> None:
    store.save(tokens, state_of(tokens), kind=AnchorKind.HEAD)


def test_what_parts_from_a_prompt_serves_up_to_there(store: AnchorStore, load: Callable[..., Loaded | None]) -> None:
    save(store, upto(3_000))
    loaded = load(upto(2_500, other_from=2_100))
    assert loaded is not None
    assert loaded.tokens == upto(3_000), "the state is of all of them"
    assert np.array_equal(loaded.state, state_of(loaded.tokens))


@pytest.mark.parametrize(("in_vain", "read"), [(IN_VAIN_ON_CPU, 6_618), (IN_VAIN_ON_GPU, 2_101)], ids=["CPU", "GPU"])
def test_a_long_turn_is_read_for_its_beginning_where_computing_costs_more(
    store: AnchorStore, load: Callable[..., Loaded | None], in_vain: int, read: int
) -> None:
    """Measured: after an answer that rambled on, a CPU read the head alone and computed 273 tokens again."""
    save(store, upto(2_101))
    save(store, upto(6_618))
    loaded = load(upto(2_374), in_vain=in_vain)
    assert loaded is not None
    assert len(loaded.tokens) == read


def test_a_state_that_cannot_be_cut_back_serves_as_a_whole_or_not_at_all(
    store: AnchorStore, load: Callable[..., Loaded | None]
) -> None:
    save(store, upto(3_000))
    assert load(upto(2_500, other_from=2_100), in_part=False) is None
    loaded = load(upto(3_001), in_part=False)
    assert loaded is not None
    assert len(loaded.tokens) == 3_000
    assert load(upto(3_000), in_part=False) is None, "one token is to be computed, and it would be none"


def test_of_several_that_begin_alike_the_one_that_does_for_longest_is_read(
    store: AnchorStore, load: Callable[..., Loaded | None]
) -> None:
    for parts in (1_030, 1_200, 1_100):  # all of them in one chunk: only the files tell
        save(store, upto(1_600, other_from=parts))
    loaded = load(upto(2_000))
    assert loaded is not None
    assert common_prefix(loaded.tokens, upto(2_000)) == 1_200


def test_reading_much_for_a_little_more_is_not_worth_it(store: AnchorStore, load: Callable[..., Loaded | None]) -> None:
    save(store, upto(1_000))
    save(store, upto(9_000, other_from=1_300))
    loaded = load(upto(2_000))
    assert loaded is not None
    assert len(loaded.tokens) == 1_000


def test_what_is_known_already_is_not_read_again(store: AnchorStore, load: Callable[..., Loaded | None]) -> None:
    save(store, upto(3_000))
    assert load(upto(2_500, other_from=2_100), at_least=2_101) is None
    assert load(upto(200)) is None


def test_what_has_no_room_is_not_read(store: AnchorStore, load: Callable[..., Loaded | None]) -> None:
    save(store, upto(3_000))
    assert load(upto(2_500), longest=2_999) is None


def test_when_a_file_is_gone_the_next_best_is_read(
    store: AnchorStore, load: Callable[..., Loaded | None], tmp_path: Path
) -> None:
    save(store, upto(1_000))
    save(store, upto(2_000))
    best = store.longest(upto(2_000))
    assert best is not None
    (tmp_path / "anchors" / best.name).unlink()
    loaded = load(upto(2_500))
    assert loaded is not None
    assert len(loaded.tokens) == 1_000


def test_when_a_state_is_torn_the_next_best_is_read(
    store: AnchorStore, load: Callable[..., Loaded | None], tmp_path: Path
) -> None:
    save(store, upto(1_000))
    save(store, upto(2_000))
    best = store.longest(upto(2_000))
    assert best is not None
    file = tmp_path / "anchors" / best.name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    loaded = load(upto(2_500))
    assert loaded is not None
    assert len(loaded.tokens) == 1_000


@contextlib.contextmanager
def holding(rows: list[array[int]]) -> Iterator[AnchorStore]:
    """Open a store that holds `rows`, in a folder of its own."""
    limits = Limits(budget_bytes=10**9, reserve_bytes=0, near_tokens=0)
    with tempfile.TemporaryDirectory() as folder:
        store = AnchorStore.open(Path(folder) / "anchors", IDENTITY, limits=limits, clock=lambda: 1_000.0)
        assert store is not None
        with contextlib.closing(store):
            for row in rows:
                save(store, row)
            yield store


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 8)), max_size=6), st.integers(1, 8))
def test_no_prefix_that_spares_more_is_overlooked(kept: list[tuple[int, int]], length: int) -> None:
    """In hundreds of tokens."""
    prompt = upto(100 * length)
    rows = [upto(100 * size, other_from=100 * parts) for parts, size in kept]
    with holding(rows) as store:
        found = candidates_for(store, prompt, longest=LONGEST, in_part=True)
    best = max((min(common_prefix(row, prompt), len(prompt) - 1) for row in rows), default=0)
    assert best < 256 or (found is not None and found.at_most >= best)
