"""Which tests name which records, read from the source of the tests.

From the source and not from a run, so that the answer does not depend on which tests were selected.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import attrs

__all__ = ["MarkedTest", "marked_tests"]

_MARKER = "requirement"


@attrs.frozen(kw_only=True)
class MarkedTest:
    """One test function."""

    module: str
    name: str
    requirements: tuple[str, ...]
    """Ids, in the order in which they are named; empty when the test names none."""


def marked_tests(folder: Path) -> tuple[MarkedTest, ...]:
    """Return all tests of the modules in `folder`, in their order."""
    return tuple(test for path in sorted(folder.glob("test_*.py")) for test in _tests(path))


def _tests(path: Path) -> Iterator[MarkedTest]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            ids = tuple(name for decorator in node.decorator_list for name in _named(decorator))
            yield MarkedTest(module=path.stem, name=node.name, requirements=ids)


def _named(decorator: ast.expr) -> Iterator[str]:
    """Yield what `requirement("…", …)` names, with or without `pytest.mark`, also within `pytest.param(…, marks=…)`."""
    for node in ast.walk(decorator):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == _MARKER:
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))
