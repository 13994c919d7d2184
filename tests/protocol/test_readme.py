"""The README's example runs and prints what it says."""

from __future__ import annotations

import doctest
from pathlib import Path

README = Path(__file__).parents[2] / "packages" / "pensieve-protocol" / "README.md"


def test_the_example_of_the_readme_is_true() -> None:
    result = doctest.testfile(str(README), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 5
    assert result.failed == 0
