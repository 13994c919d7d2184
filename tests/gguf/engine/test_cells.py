"""Ours: nothing is computed upon, copied or saved that is not where it should be: it would answer, and wrongly."""

from __future__ import annotations

from array import array
from typing import Any, cast

import numpy as np
from structlog.testing import capture_logs

from pensieve_gguf.engine.cells import Cells
from pensieve_gguf.engine.moves import Evict
from pensieve_gguf.engine.residents import Residents
from pensieve_gguf.engine.scheduler import Scheduler
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.shelf import Shelf
from pensieve_gguf.engine.vitals import Vitals


class ForgetfulContext:
    """Holds nothing, whatever it was given."""

    def __init__(self) -> None:
        self.cuts: list[tuple[int, int]] = []
        self.cleared = False

    def clear(self) -> None:
        self.cleared = True

    def holds(self, slot: int, length: int) -> bool:
        return length == 0

    def cut(self, slot: int, length: int) -> bool:
        self.cuts.append((slot, length))
        return True

    def share(self, source: int, target: int, length: int) -> None:
        pass

    def state_bytes(self, slot: int) -> int:
        return 4

    def state(self, slot: int) -> np.ndarray[Any, Any]:
        msg = "copied out what is not there"
        raise AssertionError(msg)


def over(context: ForgetfulContext) -> tuple[Cells, Scheduler, Shelf, Vitals]:
    shelf, vitals = Shelf(1_000), Vitals()
    scheduler = Scheduler(Residents(4), batch_tokens=64, max_running=4, stretch=3.0, shelf=shelf)
    return Cells(cast("Any", context), scheduler, shelf, vitals, lambda: 0.0), scheduler, shelf, vitals


def test_a_prefix_that_is_not_there_is_computed_anew_and_told() -> None:
    cells, scheduler, _, vitals = over(ForgetfulContext())
    for prompt in (range(10), range(20)):
        sequence = Sequence(key=1, tokens=array("i", prompt), prompt_tokens=len(prompt), max_tokens=5)
        scheduler.add(sequence)
        step = scheduler.schedule(0.0)
        assert step is not None
        with capture_logs() as logs:
            ready = cells.make_ready(step)
        if sequence.prompt_tokens == 10:
            assert ready
            scheduler.commit(step, {1: [7]}, 0.1, 0.0)
            scheduler.remove(sequence, 0.0)
    assert not ready
    assert [log["event"] for log in logs] == ["cells_astray"]
    assert vitals.astray == 1
    again = scheduler.schedule(0.0)
    assert again is not None
    assert [(row.start, row.stop) for row in again.rows] == [(0, 20)]
    assert cells.make_ready(again)


def test_what_is_not_there_is_not_laid_on_the_shelf() -> None:
    context = ForgetfulContext()
    cells, _, shelf, vitals = over(context)
    assert cells.make(Evict(2, 0, array("i", range(8))))
    assert len(shelf) == 0
    assert vitals.astray == 1
    assert context.cuts == [(2, 0)]


def test_a_cache_that_contradicts_itself_is_forgotten_and_told() -> None:
    """It would answer, and wrongly. Nothing ends: the next prompt is computed whole."""
    context = ForgetfulContext()
    cells, scheduler, shelf, vitals = over(context)
    sequence = Sequence(key=1, tokens=array("i", range(10)), prompt_tokens=10, max_tokens=5)
    scheduler.add(sequence)
    step = scheduler.schedule(0.0)
    assert step is not None
    scheduler.commit(step, {1: [7]}, 0.1, 0.0)
    scheduler.remove(sequence, 0.0)
    cells.put(array("i", range(50)), np.zeros(9, np.uint8))
    cells.check()
    assert (vitals.resets, len(shelf), context.cleared) == (0, 1, False)
    scheduler._residents._free.append(0)  # the slot is held
    with capture_logs() as logs:
        cells.check()
    assert [(log["event"], log["log_level"], log["shelved"]) for log in logs] == [("cache_contradicted", "error", 1)]
    assert "slots held [0] and free" in logs[0]["reason"]
    assert (vitals.resets, len(shelf), context.cleared) == (1, 0, True)
    assert scheduler.longest_prefix(array("i", range(10))) == 0
    cells.check()
    assert vitals.resets == 1
