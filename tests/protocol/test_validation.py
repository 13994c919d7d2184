"""Presentation of error trees, apart from what put them together."""

from __future__ import annotations

import pytest
from cattrs import ClassValidationError

from pensieve_protocol._validation import InvalidValueError, Problem, problems, sentence


def test_a_problem_of_the_whole_has_no_path() -> None:
    assert sentence(problems(InvalidValueError("expected an object"))) == "expected an object"


def test_a_path_is_joined_by_dots() -> None:
    assert str(Problem(("a", 0, "b"), "wrong")) == "a.0.b: wrong"


def test_three_problems_are_told_and_the_rest_is_counted() -> None:
    found = [Problem((i,), "x") for i in range(5)]
    assert sentence(found[:3]) == "0: x; 1: x; 2: x"
    assert sentence(found) == "0: x; 1: x; 2: x (and 2 more)"


def test_a_mistake_of_our_own_is_not_blamed_on_the_client() -> None:
    tree = ClassValidationError("while structuring", [RuntimeError("a bug")], object)
    with pytest.raises(RuntimeError, match="a bug"):
        list(problems(tree))
