from __future__ import annotations

import json

from release_gate.table import Outcome, as_json, as_table

OUTCOMES = (
    Outcome(row="chat", version="2.1.330", result="passed", seconds=1.25),
    Outcome(row="chat", version="2.1.197", result="failed", seconds=60.0),
    Outcome(row="resume", version="2.1.330", result="skipped", seconds=0.0),
)


def test_the_table_has_a_line_for_each_row_and_a_column_for_each_version() -> None:
    head, *lines = (line.split() for line in as_table(OUTCOMES))
    assert head == ["Claude", "Code", "2.1.330", "2.1.197"]
    assert lines == [["chat", "passed", "1.2", "s", "failed", "60.0", "s"], ["resume", "skipped", "0.0", "s", "-"]]


def test_as_json_it_is_a_list_of_outcomes() -> None:
    first, *_ = json.loads(as_json(OUTCOMES))
    assert first == {"row": "chat", "version": "2.1.330", "result": "passed", "seconds": 1.25}
