from __future__ import annotations

import os
from pathlib import Path

import pytest
from task import TASKS, Task, judged, laid_out, load_tasks

RECORDS = {task.name: task for task in load_tasks()}


def task(judge: str) -> Task:
    return Task(name="any", prompt="Do it.", judge=judge, start={})


def test_there_are_ten_tasks_and_each_asks_for_something() -> None:
    assert len(RECORDS) == len(list(TASKS.glob("*.toml"))) == 10
    assert all(len(record.prompt) > 20 for record in RECORDS.values())


@pytest.mark.parametrize("name", RECORDS)
def test_a_task_that_nobody_worked_on_is_not_solved(name: str, tmp_path: Path) -> None:
    laid_out(RECORDS[name].start, tmp_path)
    verdict = judged(RECORDS[name], tmp_path, "I am done.")
    assert not verdict.solved
    assert verdict.reason


@pytest.mark.parametrize("name", RECORDS)
def test_the_solution_of_each_record_solves_it(name: str, tmp_path: Path) -> None:
    record = RECORDS[name]
    laid_out(record.start, tmp_path)
    laid_out(record.solution, tmp_path)
    assert judged(record, tmp_path, record.answer).solved


@pytest.mark.parametrize("name", [name for name, record in RECORDS.items() if record.answer])
def test_a_task_of_saying_something_is_solved_by_saying_it_only(name: str, tmp_path: Path) -> None:
    laid_out(RECORDS[name].start, tmp_path)
    assert not judged(RECORDS[name], tmp_path, "It is 12345.").solved


def test_tests_that_pass_on_anything_are_no_tests(tmp_path: Path) -> None:
    record = RECORDS["add-a-test"]
    laid_out(record.start, tmp_path)
    for body in ("assert True", "pass"):
        text = f"import unittest\nclass T(unittest.TestCase):\n    def test_it(self):\n        {body}\n"
        (tmp_path / "test_leap.py").write_text(text)
        assert not judged(record, tmp_path, "").solved
    (tmp_path / "test_leap.py").write_text("import unittest\n")
    assert not judged(record, tmp_path, "").solved


def test_a_judge_runs_in_the_folder_and_hears_the_answer(tmp_path: Path) -> None:
    script = "import os, sys; assert (os.getcwd(), sys.stdin.read()) == ({!r}, 'yes'), os.getcwd()"
    assert judged(task(script.format(os.path.realpath(tmp_path))), tmp_path, "yes").solved
    assert not judged(task(script.format(os.path.realpath(tmp_path))), tmp_path, "no").solved


def test_the_last_line_of_a_judge_is_the_reason(tmp_path: Path) -> None:
    assert judged(task("assert False, 'too few'"), tmp_path, "").reason == "AssertionError: too few"
    assert judged(task("import sys; sys.exit(3)"), tmp_path, "").reason == "no word"


def test_a_program_that_hangs_is_no_solution(tmp_path: Path) -> None:
    verdict = judged(task("import threading; threading.Event().wait()"), tmp_path, "", bound_s=1.0)
    assert not verdict.solved
    assert "time" in verdict.reason


def test_a_record_with_a_field_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('prompt = "p"\njudge = "j"\nstart = {}\njugde = "x"\n')
    with pytest.raises(Exception, match="Task"):
        load_tasks(tmp_path)
