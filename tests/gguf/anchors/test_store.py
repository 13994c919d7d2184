"""What is saved is found again by exactly its tokens, and by nothing else."""

from __future__ import annotations

import contextlib
import os
import stat
from array import array
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import attrs
import numpy as np
import pytest

from pensieve_gguf.anchors import AnchorIdentity, AnchorKind, AnchorStore, Limits, Saved, State, chunk_digests
from pensieve_gguf.anchors.testing import FaultyFolder

Tokens: TypeAlias = "Callable[[int], array[int]]"
MakeState: TypeAlias = Callable[..., State]
OpenStore: TypeAlias = Callable[..., AnchorStore]
HEAD, TURN = AnchorKind.HEAD, AnchorKind.TURN


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.anchor"))


def _loaded(store: AnchorStore, tokens: array[int]) -> State | None:
    anchor = store.longest(tokens)
    return None if anchor is None else store.load(anchor, tokens)


def test_a_state_comes_back_after_a_restart_for_prompts_that_go_on(
    open_store: OpenStore, tokens: Tokens, state: MakeState
) -> None:
    first = open_store()
    assert first.save(tokens(1_000), state(1), kind=HEAD) is Saved.SAVED
    first.close()
    second = open_store()
    anchor = second.longest(tokens(1_500))
    assert anchor is not None
    assert (anchor.length, anchor.kind) == (1_000, HEAD)
    loaded = second.load(anchor, tokens(1_500))
    assert loaded is not None
    assert np.array_equal(loaded, state(1))


def test_the_longest_prefix_wins_and_one_that_differs_in_a_token_is_none(
    open_store: OpenStore, tokens: Tokens, state: MakeState
) -> None:
    store = open_store()
    for length in (10, 200, 300):
        assert store.save(tokens(length), state(length), kind=HEAD) is Saved.SAVED
    prompt = tokens(400)
    prompt[250] += 1
    anchor = store.longest(prompt)
    assert anchor is not None
    assert anchor.length == 200
    assert store.longest(prompt, at_least=201) is None
    assert store.longest(tokens(9)) is None
    assert store.longest(array("i")) is None


def test_an_anchor_is_loaded_only_for_the_tokens_that_it_was_found_for(
    open_store: OpenStore, tokens: Tokens, state: MakeState, folder: Path
) -> None:
    store = open_store()
    store.save(tokens(100), state(), kind=HEAD)
    anchor = store.longest(tokens(100))
    assert anchor is not None
    other = tokens(100)
    other[50] += 1
    assert store.load(anchor, other) is None
    assert store.load(anchor, tokens(99)) is None
    assert len(_files(folder)) == 1, "the question was wrong, not the file"


@pytest.mark.parametrize(
    "other",
    [
        {"model": "another quantisation"},
        {"build": "a newer llama.cpp"},
        {"state_version": 3},
        {"key_type": "q8_0"},
        {"value_type": "q8_0"},
        {"flash_attention": False},
        {"rope": "yarn"},
        {"lora": ("an adapter",)},
        {"layout": "swa_full"},
    ],
)
def test_whatever_changes_what_a_state_means_hides_it(
    open_store: OpenStore, identity: AnchorIdentity, tokens: Tokens, state: MakeState, other: dict[str, Any]
) -> None:
    open_store().save(tokens(100), state(), kind=HEAD)
    assert open_store().longest(tokens(100)) is not None
    assert open_store(identity=attrs.evolve(identity, **other)).longest(tokens(100)) is None


def test_a_new_label_hides_nothing(
    open_store: OpenStore, identity: AnchorIdentity, tokens: Tokens, state: MakeState
) -> None:
    open_store().save(tokens(100), state(), kind=HEAD)
    assert open_store(identity=attrs.evolve(identity, label="renamed")).longest(tokens(100)) is not None
    assert attrs.evolve(identity, label="renamed") == identity


def test_a_file_of_another_model_under_the_name_of_ours_is_not_loaded_and_removed(
    open_store: OpenStore, identity: AnchorIdentity, tokens: Tokens, state: MakeState, folder: Path
) -> None:
    ours = open_store()
    ours.save(tokens(100), state(1), kind=HEAD)
    (mine,) = _files(folder)
    theirs = open_store(identity=attrs.evolve(identity, model="theirs"))
    theirs.save(tokens(100), state(2), kind=HEAD)
    (other,) = set(_files(folder)) - {mine}
    other.replace(mine)
    assert _loaded(ours, tokens(100)) is None
    assert _files(folder) == []


def test_nothing_is_readable_by_others(open_store: OpenStore, tokens: Tokens, state: MakeState, folder: Path) -> None:
    """Ours: the files hold prompts."""
    before = os.umask(0)
    try:
        open_store().save(tokens(100), state(), kind=HEAD)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(modes) >= 3
    assert set(modes.values()) == {0o600}


def test_a_budget_of_nothing_means_no_store_and_no_folder(
    folder: Path, identity: AnchorIdentity, clock: SimpleNamespace
) -> None:
    assert AnchorStore.open(folder, identity, limits=Limits(budget_bytes=0), clock=lambda: clock.now) is None
    assert not folder.exists()


# -- written once --------------------------------------------------------------------------------------------------


def test_a_prefix_is_written_once(open_store: OpenStore, tokens: Tokens, state: MakeState, folder: Path) -> None:
    store = open_store()
    assert store.wants(tokens(100), 1_000, kind=TURN)
    assert store.save(tokens(100), state(), kind=HEAD) is Saved.SAVED
    written = _files(folder)[0].stat().st_mtime_ns
    assert not store.wants(tokens(100), 1_000, kind=HEAD)
    assert not store.wants(tokens(100), 1_000, kind=TURN)
    assert store.save(tokens(100), state(2), kind=HEAD) is Saved.KNOWN
    assert store.save(tokens(100), state(2), kind=TURN) is Saved.KNOWN
    assert [path.stat().st_mtime_ns for path in _files(folder)] == [written]


def test_nothing_is_known_always(open_store: OpenStore, tokens: Tokens, state: MakeState) -> None:
    store = open_store()
    assert store.save(array("i"), state(), kind=HEAD) is Saved.KNOWN
    assert store.save(tokens(10), state(0, 0), kind=HEAD) is Saved.KNOWN
    assert not store.wants(array("i"), 1, kind=HEAD)
    assert not store.wants(tokens(10), 0, kind=HEAD)


@pytest.mark.parametrize(("length", "outcome"), [(83, "saved"), (84, "known"), (116, "known"), (117, "saved")])
def test_a_prefix_that_differs_by_a_few_tokens_is_not_written_again(
    open_store: OpenStore, tokens: Tokens, state: MakeState, length: int, outcome: str
) -> None:
    store = open_store(near_tokens=16)
    store.save(tokens(100), state(), kind=HEAD)
    assert store.save(tokens(length), state(2), kind=HEAD) is Saved(outcome)


def test_a_longer_prefix_of_another_prompt_covers_nothing(
    open_store: OpenStore, tokens: Tokens, state: MakeState
) -> None:
    store = open_store(near_tokens=16)
    other = tokens(100)
    other[0] += 1
    store.save(other, state(), kind=HEAD)
    assert store.save(tokens(95), state(), kind=HEAD) is Saved.SAVED


def test_a_turn_does_not_stand_in_for_a_head_for_it_will_be_replaced(
    open_store: OpenStore, tokens: Tokens, state: MakeState, folder: Path
) -> None:
    store = open_store(near_tokens=16)
    assert store.save(tokens(100), state(1), kind=TURN) is Saved.SAVED
    assert store.save(tokens(100), state(1), kind=HEAD) is Saved.SAVED
    assert len(_files(folder)) == 1
    anchor = store.longest(tokens(100))
    assert anchor is not None
    assert anchor.kind is HEAD


def test_a_turn_replaces_the_turns_of_its_conversation_that_it_continues(
    open_store: OpenStore, tokens: Tokens, state: MakeState
) -> None:
    store = open_store()
    store.save(tokens(50), state(1), kind=HEAD)
    store.save(tokens(100), state(2), kind=TURN, conversation="mine")
    store.save(tokens(110), state(3), kind=TURN, conversation="theirs")
    branch = tokens(120)
    branch[115] += 1
    store.save(branch, state(4), kind=TURN, conversation="mine")
    store.save(tokens(200), state(5), kind=TURN, conversation="mine")
    lengths = [store.longest(tokens(length)) for length in (50, 109, 199, 200)]
    assert [anchor and anchor.length for anchor in lengths] == [50, 50, 110, 200]
    found = store.longest(branch)
    assert found is not None
    assert found.length == 120


def test_what_begins_alike_is_found_to_the_chunk_and_told_to_the_token(
    open_store: OpenStore, tokens: Tokens, state: MakeState
) -> None:
    store = open_store()
    branches = {}
    for shared in (300, 700, 1_100):
        branches[shared] = tokens(shared) + array("i", range(900))
        store.save(branches[shared], state(shared), kind=HEAD)
    store.save(array("i", range(2_000)), state(), kind=HEAD)
    found = store.akin(chunk_digests(tokens(2_000)), 1)
    assert branches[1_100] in [store.tokens_of(anchor) for anchor in found]
    assert len(store.akin(chunk_digests(tokens(2_000)), 9)) == 4


def test_tokens_of_what_is_gone_or_torn_are_none(
    open_store: OpenStore, tokens: Tokens, state: MakeState, folder: Path
) -> None:
    store = open_store()
    for length in (100, 200):
        store.save(tokens(length), state(), kind=HEAD)
    gone, torn = (store.longest(tokens(length)) for length in (100, 200))
    assert gone is not None
    assert torn is not None
    (folder / gone.name).unlink()
    content = bytearray((folder / torn.name).read_bytes())
    content[300] ^= 1
    (folder / torn.name).write_bytes(content)
    assert [store.tokens_of(anchor) for anchor in (gone, torn)] == [None, None]
    assert store.longest(tokens(200)) is None


def test_a_turn_takes_the_place_of_the_one_that_became_it_although_its_answer_was_rendered_anew(
    open_store: OpenStore, tokens: Tokens, state: MakeState
) -> None:
    # a call that comes back as JSON may be other tokens than those that were sampled
    store = open_store()
    said, again = tokens(1_000) + array("i", range(100)), tokens(1_000) + array("i", range(5, 700))
    tails = {"a": array("i", [1]), "b": array("i", [2]), "": array("i", [3])}
    for conversation, tail in tails.items():
        store.save(said + tail, state(), kind=TURN, conversation=conversation)
    for conversation in ("a", ""):
        store.save(again + tails[conversation], state(), kind=TURN, conversation=conversation)
    kept = [store.tokens_of(anchor) for anchor in store.akin(chunk_digests(said), 9)]
    assert len(kept) == 4
    assert said + tails["a"] not in kept, "it became another one"
    assert said + tails[""] in kept, "who knows whose it is"


def test_what_was_used_last_is_read_ahead_as_far_as_it_may_be_and_a_gone_file_hurts_nobody(
    open_store: OpenStore,
    identity: AnchorIdentity,
    tokens: Tokens,
    state: MakeState,
    folder: Path,
) -> None:
    store = open_store()
    for length in (100, 200, 300):
        store.save(tokens(length), state(), kind=HEAD)
    sizes = [anchor.stat().st_size for anchor in _files(folder)]
    faulty = FaultyFolder.open(folder)
    read: list[str] = []
    faulty.before = read.append
    with contextlib.closing(AnchorStore(faulty, identity, limits=Limits(budget_bytes=1), clock=lambda: 0.0)) as other:
        read.clear()
        other.read_ahead(sum(sizes) - 1)
        assert read == ["read", "read"]
        for file in _files(folder):
            file.unlink()
        other.read_ahead(sum(sizes))
