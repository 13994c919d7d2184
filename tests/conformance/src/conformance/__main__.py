"""Write `docs/divergences.md`, and the summary in the README: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

from conformance import REQUIREMENTS
from conformance.markers import marked_tests
from conformance.report import divergences_page, summarise, with_summary

_FOLDER = Path(__file__).parents[2]
_ROOT = _FOLDER.parents[1]


def main() -> int:
    """Rewrite both files, and return the exit code."""
    readme = _ROOT / "README.md"
    summaries = summarise(REQUIREMENTS, marked_tests(_FOLDER))
    readme.write_text(with_summary(readme.read_text(encoding="utf-8"), summaries), encoding="utf-8")
    (_ROOT / "docs" / "divergences.md").write_text(divergences_page(REQUIREMENTS), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
