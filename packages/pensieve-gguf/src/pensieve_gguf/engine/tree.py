"""Which cells of the KV cache which slots hold: a prefix tree, exact to the token. Pure bookkeeping.

Cells that were computed once and are held by the same slots form a *run*. A slot's cells are the runs on the way from
the root to its last one. Sharing a prefix (`llama_memory_seq_cp`) makes a slot one more holder of a run, and splits
the run where the sharing ends; a run without a holder is forgotten: its cells are free. Two slots that computed equal
tokens apart have two runs: the tree tells cells, not texts.

Above: `residents`, which decides what is placed, kept and forgotten. This module decides nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator

import attrs
import numpy as np

from pensieve_core import Priority

__all__ = ["PrefixTree", "Run", "Use", "common_prefix"]


@attrs.frozen(kw_only=True)
class Use:
    """A prompt that is placed upon cells."""

    at: float
    """Seconds on the engine's clock."""
    priority: Priority = Priority.MAIN
    conversation: Hashable = None
    """Who speaks; None when that is not known."""


@attrs.define(kw_only=True, eq=False)
class Run:
    """Cells `start` to `stop` of every slot that holds them, and what is known of their use.

    Invariant: `0 <= start < stop`, but for the root, which is empty; at least one holder; all holders of a child are
    holders of its parent.
    """

    start: int
    stop: int
    parent: Run | None = None
    children: list[Run] = attrs.field(factory=list)
    holders: set[int] = attrs.field(factory=set)
    marked: bool = False
    """Whether a cache mark stands at `stop`: the client expects the prompt up to there to come again."""
    use: Use
    """The last one; its priority is that of the most urgent one."""
    uses: int = 1
    """Prompts that were placed upon it."""
    left: bool = False
    """Whether the conversation that used it last has gone on elsewhere since."""

    @property
    def cells(self) -> int:
        """How many cells it takes, however many slots hold them."""
        return self.stop - self.start


class PrefixTree:
    """The slots that hold tokens, and the cells they share.

    Mutated by `hold`, `touch`, `grow`, `share`, `mark`, `cut` and `drop`. Reading costs no
    more than the runs on the way; a prompt of 24,000 tokens is matched in 30 µs among 48 slots, in 80 µs among 256.
    """

    def __init__(self) -> None:
        self._root = Run(start=0, stop=0, use=Use(at=0.0))
        self._last: dict[int, Run] = {}
        self._tokens: dict[int, array[int]] = {}
        self._uses: dict[int, Use] = {}
        self.cells = 0
        """Cells in use; shared ones count once."""

    def __contains__(self, slot: int) -> bool:
        return slot in self._last

    def __len__(self) -> int:
        """Slots that hold tokens, or are about to."""
        return len(self._last)

    def __iter__(self) -> Iterator[int]:
        return iter(self._last)

    def length(self, slot: int) -> int:
        """Return how many tokens of `slot` are in the cache."""
        return self._last[slot].stop

    def tokens(self, slot: int) -> array[int]:
        """Return the known tokens of `slot`, of which the first `length(slot)` are in the cache."""
        return self._tokens[slot]

    def last(self, slot: int) -> Run:
        """Return the run where `slot` ends; the root, when it holds nothing."""
        return self._last[slot]

    def path(self, slot: int) -> Iterator[Run]:
        """Yield the runs of `slot`, the last one first."""
        run = self._last[slot]
        while run.parent is not None:
            yield run
            run = run.parent

    def exclusive(self, slot: int) -> list[Run]:
        """Return the runs that no other slot holds, the last one first: what is free once `slot` is dropped."""
        return [run for run in self.path(slot) if len(run.holders) == 1]

    def runs(self) -> Iterator[Run]:
        """Yield all runs, parents before their children."""
        open_runs = [self._root]
        while open_runs:
            children = open_runs.pop().children
            yield from children
            open_runs.extend(children)

    def matches(self, prompt: array[int]) -> list[tuple[Run, int]]:
        """Return the runs that begin as `prompt` goes on, each with the length up to which it does.

        At least one token of the prompt is always left to compute: something has to give the first logits.
        """
        found: list[tuple[Run, int]] = []
        open_runs = [self._root]
        while open_runs:
            for run in open_runs.pop().children:
                reach = self._reach(run, prompt)
                if reach > run.start:
                    found.append((run, reach))
                if reach == run.stop:
                    open_runs.append(run)
        return found

    def _reach(self, run: Run, prompt: array[int]) -> int:
        tokens = self._tokens[next(iter(run.holders))]
        stop = min(run.stop, len(prompt) - 1)
        if run.start >= stop or tokens[run.start] != prompt[run.start]:
            return run.start
        return common_prefix(tokens, prompt, run.start, stop)

    def hold(self, slot: int, tokens: array[int], use: Use) -> None:
        """Let `slot` hold `tokens`, a list shared with the caller, who appends to it.

        What it holds already stays, and must be what `tokens` begin with; a new slot holds no cells. Other cells that
        the same conversation used last are what it has left behind.
        """
        self._last.setdefault(slot, self._root)
        self._tokens[slot], self._uses[slot] = tokens, use
        if use.conversation is not None:
            for run in self.runs():
                run.left = run.left or run.use.conversation == use.conversation
        for run in self.path(slot):
            run.uses += 1
            run.left = False
            run.use = attrs.evolve(use, priority=min(use.priority, run.use.priority))

    def touch(self, slot: int, now: float) -> None:
        """Note that the cells of `slot` are in use `now`."""
        for run in self.path(slot):
            run.use = attrs.evolve(run.use, at=now)

    def grow(self, slot: int, length: int) -> None:
        """Note that the first `length` tokens of `slot` are in the cache."""
        run = self._last[slot]
        if length == run.stop:
            return
        self.cells += length - run.stop
        if run.parent is not None and len(run.holders) == 1 and not run.marked:
            run.stop = length
            return
        new = Run(start=run.stop, stop=length, parent=run, holders={slot}, use=self._uses[slot])
        run.children.append(new)
        self._last[slot] = new

    def share(self, source: int, target: int, length: int) -> None:
        """Let the empty slot `target` hold the first `length` cells of `source`, too."""
        last = self._at(source, length)
        self._last[target] = last
        for run in self.path(target):
            run.holders.add(target)

    def mark(self, slot: int, length: int) -> None:
        """Note that a cache mark stands after `length` cells of `slot`."""
        run = self._at(slot, length)
        run.marked = run.parent is not None

    def cut(self, slot: int, length: int) -> None:
        """Forget what `slot` holds from `length` on; what others hold stays."""
        last = self._at(slot, length)
        run = self._last[slot]
        self._last[slot] = last
        while run is not last and run.parent is not None:
            run.holders.discard(slot)
            if not run.holders:
                run.parent.children.remove(run)
                self.cells -= run.cells
            else:
                self._join(run)
            run = run.parent
        self._join(last)

    def drop(self, slot: int) -> None:
        """Forget `slot`."""
        self.cut(slot, 0)
        del self._last[slot], self._tokens[slot], self._uses[slot]

    def check(self) -> None:
        """Raise AssertionError when the tree is not what its invariants say. 0.2 ms with 48 slots."""
        cells, seen = 0, {id(self._root)}
        for run in self.runs():
            self._check_run(run)
            cells += run.cells
            seen.add(id(run))
        _require(cells == self.cells, f"{self.cells} cells are counted, {cells} are there")
        for slot, last in self._last.items():
            _require(id(last) in seen, f"slot {slot} ends outside of the tree")
            _require(last.stop <= len(self._tokens[slot]), f"slot {slot} has more cells than tokens")
            held = all(slot in run.holders for run in self.path(slot))
            _require(held, f"slot {slot} does not hold what it ends with")

    def _check_run(self, run: Run) -> None:
        place, parent = f"run {run.start}:{run.stop}", run.parent or self._root
        _require(run in parent.children and run.start == parent.stop, f"{place} does not follow its parent")
        _require(run.start < run.stop, f"{place} is empty")
        _require(bool(run.holders), f"{place} has no holder")
        _require(parent is self._root or run.holders <= parent.holders, f"{place} is held without its parent")
        for slot in run.holders:
            _require(run in self.path(slot), f"{place} is not on the way to slot {slot}, which holds it")

    def _at(self, slot: int, length: int) -> Run:
        """Return the run of `slot` that ends at `length`; split one, if need be."""
        run = self._last[slot]
        while run.parent is not None and run.start >= length:
            run = run.parent
        if length < run.stop:
            self._split(run, length)
        return run

    def _split(self, run: Run, at: int) -> None:
        lower = attrs.evolve(run, start=at, parent=run, children=run.children, holders=set(run.holders))
        for child in lower.children:
            child.parent = lower
        for slot in lower.holders:
            if self._last[slot] is run:
                self._last[slot] = lower
        run.children, run.stop, run.marked = [lower], at, False

    def _join(self, run: Run) -> None:
        """Make one run of two that the same slots hold, lest a long conversation become a chain of them."""
        if run.parent is None or run.marked or len(run.children) != 1:
            return
        (lower,) = run.children
        if lower.holders != run.holders:
            return
        run.stop, run.children, run.marked = lower.stop, lower.children, lower.marked
        run.left = lower.left
        for child in run.children:
            child.parent = run
        for slot in run.holders:
            if self._last[slot] is lower:
                self._last[slot] = run


def common_prefix(left: array[int], right: array[int], start: int = 0, stop: int | None = None) -> int:
    """Return up to which position, `stop` at most, the two go on alike from `start`. 24,000 tokens cost some 10 µs."""
    length = min(len(left), len(right)) if stop is None else stop
    if length <= start:
        return start
    first = start * left.itemsize
    differing = np.flatnonzero(
        np.frombuffer(left, np.int32, length - start, first) != np.frombuffer(right, np.int32, length - start, first)
    )
    return start + int(differing[0]) if len(differing) else length


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - as an assert statement
    if not holds:
        raise AssertionError(otherwise)
