from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from pensieve_cli.logs import configure_logs, log_form
from pensieve_cli.settings import LogSettings


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _records(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_auto_is_pretty_for_a_person_and_json_for_a_machine() -> None:
    assert log_form("auto", _Terminal()) == "pretty"
    assert log_form("auto", io.StringIO()) == "json"
    assert log_form("json", _Terminal()) == "json"


def test_a_record_is_one_json_object_a_line_with_level_and_time() -> None:
    stream = io.StringIO()
    configure_logs(LogSettings(), stream)
    structlog.get_logger("ours").info("request_finished", ttft_s=0.25, output_tokens=7)
    (record,) = _records(stream)
    assert (record["event"], record["ttft_s"], record["output_tokens"]) == ("request_finished", 0.25, 7)
    assert record["level"] == "info"
    assert str(record["timestamp"]).endswith("Z")


def test_records_of_libraries_take_the_same_form() -> None:
    stream = io.StringIO()
    configure_logs(LogSettings(), stream)
    logging.getLogger("hypercorn.error").warning("odd request from %s", "::1")
    (record,) = _records(stream)
    assert (record["event"], record["logger"]) == ("odd request from ::1", "hypercorn.error")


def test_context_variables_are_part_of_the_record() -> None:
    stream = io.StringIO()
    configure_logs(LogSettings(), stream)
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        structlog.get_logger().info("seen")
    assert _records(stream)[0]["request_id"] == "req_1"


def test_records_below_the_level_are_dropped() -> None:
    stream = io.StringIO()
    configure_logs(LogSettings(log_level="warning"), stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("library").info("quiet")
    structlog.get_logger().warning("loud")
    assert [record["event"] for record in _records(stream)] == ["loud"]


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_secrets_are_masked_in_values_messages_and_tracebacks(form: str) -> None:
    stream = io.StringIO()
    configure_logs(LogSettings(log_format="json" if form == "json" else "pretty"), stream)
    log = structlog.get_logger()
    log.info("seen", authorization="Bearer abc", headers={"x-api-key": "hunter2"})
    logging.getLogger("library").warning("key %s", "sk-ant-hunter2")
    log.error("broke", exc_info=ValueError("sk-ant-hunter2"))
    written = stream.getvalue()
    assert "hunter2" not in written
    assert "Bearer abc" not in written
    assert "ValueError" in written


def test_configuring_again_replaces_what_was_before() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logs(LogSettings(), first)
    log = structlog.get_logger()
    log.info("one")
    configure_logs(LogSettings(), second)
    log.info("two")
    assert [record["event"] for record in _records(first)] == ["one"]
    assert [record["event"] for record in _records(second)] == ["two"]
