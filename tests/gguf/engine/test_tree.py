"""Ours: design 2, "KV cache". Who holds which cells, exact to the token."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pensieve_core import Priority
from pensieve_gguf.engine.tree import PrefixTree, Use, common_prefix


def tokens(*ids: int) -> array[int]:
    return array("i", ids)


def upto(length: int) -> array[int]:
    return array("i", range(length))


def used(at: float = 0.0, priority: Priority = Priority.MAIN, conversation: str | None = None) -> Use:
    return Use(at=at, priority=priority, conversation=conversation)


def grown(tree: PrefixTree, slot: int, ids: array[int], use: Use | None = None) -> None:
    """Let a new slot compute all of `ids`."""
    tree.hold(slot, ids, use or used())
    tree.grow(slot, len(ids))


def forked(tree: PrefixTree, way: tuple[int, int], ids: array[int], length: int, use: Use | None = None) -> None:
    """Share `length` cells from one slot to another, and compute the rest of `ids` there."""
    source, target = way
    tree.share(source, target, length)
    tree.hold(target, ids, use or used())
    tree.grow(target, len(ids))


def longest(tree: PrefixTree, prompt: array[int]) -> int:
    return max((reach for _, reach in tree.matches(prompt)), default=0)


def shape(tree: PrefixTree, slot: int) -> list[tuple[int, int, set[int]]]:
    return [(run.start, run.stop, run.holders) for run in tree.path(slot)]


def test_cells_that_two_slots_hold_count_once() -> None:
    tree = PrefixTree()
    grown(tree, 0, upto(10))
    forked(tree, (0, 1), tokens(0, 1, 2, 3, 77, 78), 4)
    assert tree.cells == 12
    assert shape(tree, 0) == [(4, 10, {0}), (0, 4, {0, 1})]
    assert shape(tree, 1) == [(4, 6, {1}), (0, 4, {0, 1})]
    assert [run.cells for run in tree.exclusive(1)] == [2]


def test_what_two_slots_computed_apart_takes_cells_twice() -> None:
    tree = PrefixTree()
    grown(tree, 0, upto(10))
    grown(tree, 1, upto(10))
    assert tree.cells == 20
    assert longest(tree, upto(20)) == 10


def test_a_cut_frees_what_nobody_else_holds() -> None:
    tree = PrefixTree()
    grown(tree, 0, upto(10))
    forked(tree, (0, 1), upto(12), 10)
    tree.cut(1, 8)
    assert (tree.cells, tree.length(0), tree.length(1)) == (10, 10, 8)
    tree.cut(0, 3)
    assert (tree.cells, longest(tree, upto(20))) == (8, 8)
    tree.drop(1)
    assert (tree.cells, tree.length(0)) == (3, 3)
    assert 1 not in tree
    tree.check()


def test_runs_that_the_same_slots_hold_again_become_one() -> None:
    """Else a conversation that forks with every turn would become a chain of a thousand runs."""
    tree = PrefixTree()
    grown(tree, 0, upto(10))
    for length in (4, 6, 8):
        forked(tree, (0, length), tokens(*range(length), 99), length)
    assert len(shape(tree, 0)) == 4
    for slot in (6, 4, 8):
        tree.drop(slot)
    assert shape(tree, 0) == [(0, 10, {0})]
    tree.check()


def test_runs_that_several_slots_hold_become_one_when_the_fork_between_is_gone() -> None:
    tree = PrefixTree()
    grown(tree, 0, upto(10))
    forked(tree, (0, 1), tokens(*range(8), 77), 8)
    forked(tree, (1, 2), tokens(*range(5), 88), 5)
    forked(tree, (0, 3), tokens(*range(9), 66), 9)
    tree.drop(2)
    assert shape(tree, 0) == [(9, 10, {0}), (8, 9, {0, 3}), (0, 8, {0, 1, 3})]
    tree.check()


def test_a_slot_that_ends_within_a_run_keeps_its_end() -> None:
    tree = PrefixTree()
    grown(tree, 0, upto(10))
    tree.share(0, 1, 10)
    tree.hold(1, upto(20), used())
    forked(tree, (0, 2), tokens(0, 1, 2, 77), 3)
    assert (tree.length(0), tree.length(1)) == (10, 10)
    tree.drop(2)
    assert shape(tree, 1) == [(0, 10, {0, 1})]
    tree.check()


def test_a_marked_head_stays_a_run_of_its_own() -> None:
    tree = PrefixTree()
    tree.hold(0, upto(10), used())
    tree.grow(0, 4)
    tree.mark(0, 4)
    tree.grow(0, 10)
    tree.mark(0, 0)  # a mark before the first token says nothing
    assert [(run.start, run.stop, run.marked) for run in tree.path(0)] == [(4, 10, False), (0, 4, True)]
    tree.cut(0, 9)
    assert len(shape(tree, 0)) == 2


def test_a_use_counts_for_all_that_the_prompt_is_placed_upon() -> None:
    tree = PrefixTree()
    grown(tree, 0, upto(10), used(1.0, Priority.BACKGROUND))
    forked(tree, (0, 1), tokens(0, 1, 2, 3, 77), 4, used(2.0, Priority.AGENT))
    tail, head = tree.path(0)
    assert (head.uses, head.use.at, head.use.priority) == (2, 2.0, Priority.AGENT)
    assert (tail.uses, tail.use.at, tail.use.priority) == (1, 1.0, Priority.BACKGROUND)
    tree.touch(0, 5.0)
    assert [run.use.at for run in tree.path(0)] == [5.0, 5.0]
    assert [run.use.at for run in tree.path(1)] == [2.0, 5.0]


def test_the_most_urgent_use_of_a_head_stays_with_it() -> None:
    tree = PrefixTree()
    grown(tree, 0, upto(10), used(1.0, Priority.MAIN))
    tree.hold(0, upto(12), used(2.0, Priority.BACKGROUND))
    assert next(tree.path(0)).use.priority is Priority.MAIN


def test_what_a_conversation_goes_on_without_is_left_behind() -> None:
    tree = PrefixTree()
    grown(tree, 0, upto(10), used(1.0, conversation="a"))
    grown(tree, 2, tokens(50, 51), used(1.0, conversation="b"))
    forked(tree, (0, 1), tokens(0, 1, 2, 3, 77), 4, used(2.0, conversation="a"))
    assert [run.left for run in tree.path(0)] == [True, False]
    assert [run.left for run in (*tree.path(1), *tree.path(2))] == [False] * 3
    tree.hold(0, upto(12), used(3.0, conversation="a"))
    assert [run.left for run in tree.path(0)] == [False, False]
    assert [run.left for run in tree.path(1)] == [True, False]


def test_a_match_leaves_a_token_to_compute() -> None:
    tree = PrefixTree()
    grown(tree, 0, upto(10))
    assert longest(tree, upto(10)) == 9
    assert longest(tree, upto(1)) == 0


def test_an_empty_slot_shares_and_matches_nothing() -> None:
    tree = PrefixTree()
    tree.hold(0, upto(10), used())
    tree.grow(0, 0)
    assert (list(tree), len(tree), tree.length(0), tree.cells) == ([0], 1, 0, 0)
    assert tree.matches(upto(10)) == []
    tree.check()


def test_contradictions_are_told() -> None:
    tree = PrefixTree()
    grown(tree, 0, upto(10))
    tree.cells += 1
    with pytest.raises(AssertionError, match="11 cells are counted, 10 are there"):
        tree.check()


def test_common_prefix_of_nothing_is_nothing() -> None:
    assert common_prefix(tokens(), upto(5)) == 0
    assert common_prefix(tokens(), tokens()) == 0


def test_common_prefix_of_a_part_is_told_from_the_beginning() -> None:
    assert common_prefix(upto(10), tokens(9, 1, 2, 3, 9, 9), 1, 6) == 4
    assert common_prefix(upto(10), upto(12), 2, 7) == 7


@given(
    st.lists(st.integers(0, 2), max_size=40).map(lambda ids: array("i", ids)),
    st.lists(st.integers(0, 2), max_size=40).map(lambda ids: array("i", ids)),
)
def test_common_prefix_is_equal_and_longest(left: array[int], right: array[int]) -> None:
    length = common_prefix(left, right)
    assert left[:length] == right[:length]
    assert length in (len(left), len(right)) or left[length] != right[length]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=20))
def test_arrays_may_grow_after_they_were_compared(ids: list[int]) -> None:
    """A numpy view that outlives the comparison would make `append` raise BufferError."""
    left, right = array("i", ids), array("i", ids)
    assert common_prefix(left, right) == len(ids)
    left.append(7)
    right.append(7)
    assert len(left) == len(right) == len(ids) + 1


_SLOTS = 5


class TreeMachine(RuleBasedStateMachine):
    """The tree beside a model that copies: each slot a list of cells, each cell an object."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = PrefixTree()
        self.cells: dict[int, list[object]] = {}
        self.known: dict[int, array[int]] = {}

    @precondition(lambda self: len(self.cells) < _SLOTS)
    @rule(data=st.data(), new=st.lists(st.integers(0, 1), min_size=1, max_size=8))
    def place(self, data: st.DataObject, new: list[int]) -> None:
        slot = next(slot for slot in range(_SLOTS) if slot not in self.cells)
        source = data.draw(st.sampled_from([None, *self.cells]))
        length = data.draw(st.integers(0, len(self.cells[source]))) if source is not None else 0
        head = self.known[source][:length] if source is not None else tokens()
        self.known[slot] = array("i", [*head, *new])
        if source is not None and length:
            self.tree.share(source, slot, length)
        self.tree.hold(slot, self.known[slot], used(conversation=data.draw(st.sampled_from([None, "a", "b"]))))
        self.cells[slot] = list(self.cells[source][:length]) if source is not None else []

    @precondition(lambda self: self.cells)
    @rule(data=st.data(), more=st.integers(0, 8))
    def grow(self, data: st.DataObject, more: int) -> None:
        slot = data.draw(st.sampled_from(sorted(self.cells)))
        length = min(len(self.known[slot]), len(self.cells[slot]) + more)
        self.tree.grow(slot, length)
        self.cells[slot] += [object() for _ in range(length - len(self.cells[slot]))]

    @precondition(lambda self: self.cells)
    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.cells)))
        length = data.draw(st.integers(0, len(self.cells[slot])))
        self.tree.cut(slot, length)
        del self.cells[slot][length:]

    @precondition(lambda self: self.cells)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.cells)))
        self.tree.drop(slot)
        del self.cells[slot], self.known[slot]

    @precondition(lambda self: self.cells)
    @rule(data=st.data())
    def mark(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.cells)))
        self.tree.mark(slot, data.draw(st.integers(0, len(self.cells[slot]))))

    @rule(prompt=st.lists(st.integers(0, 1), min_size=1, max_size=12).map(lambda ids: array("i", ids)))
    def match(self, prompt: array[int]) -> None:
        limit = len(prompt) - 1
        reach = {s: common_prefix(self.known[s], prompt, 0, min(limit, len(self.cells[s]))) for s in self.cells}
        best = max(reach.values(), default=0)
        assert longest(self.tree, prompt) == best
        holders = {slot for run, length in self.tree.matches(prompt) if length == best for slot in run.holders}
        assert holders == {slot for slot, length in reach.items() if length == best and best > 0}

    @invariant()
    def tree_and_model_agree(self) -> None:
        self.tree.check()
        assert set(self.tree) == set(self.cells)
        assert self.tree.cells == len({id(cell) for held in self.cells.values() for cell in held})
        for slot, held in self.cells.items():
            others = {id(cell) for other, cells in self.cells.items() if other != slot for cell in cells}
            assert self.tree.length(slot) == len(held)
            exclusive = sum(run.cells for run in self.tree.exclusive(slot))
            assert exclusive == sum(id(cell) not in others for cell in held)


TestTree = TreeMachine.TestCase
TestTree.settings = settings(max_examples=150, stateful_step_count=40)
