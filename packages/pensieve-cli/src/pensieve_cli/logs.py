"""How log records leave the process: structlog, on stderr, one form for ours and for the libraries'.

Knows levels and forms. What is worth a record is the business of those who log.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO, TypeAlias

import structlog

from pensieve_cli.redaction import redact
from pensieve_cli.settings import LogFormat, LogSettings

__all__ = ["configure_logs", "log_form"]

_Form: TypeAlias = Literal["pretty", "json"]


def log_form(wanted: LogFormat, stream: TextIO) -> _Form:
    """Return the form that records take on `stream`: `auto` is pretty for a person, JSON for a machine."""
    if wanted != "auto":
        return wanted
    return "pretty" if stream.isatty() else "json"


def configure_logs(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send all records, structlog's and the standard library's, to `stream` (stderr). Replaces what was before."""
    target = stream or sys.stderr
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    form = log_form(settings.log_format, target)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_common(form),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(_formatter(form, colors=target.isatty()))
    logging.basicConfig(handlers=[handler], level=level, force=True)


def _common(form: _Form) -> list[structlog.typing.Processor]:
    iso, wall_clock = (
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.TimeStamper("%H:%M:%S", utc=False),
    )
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        iso if form == "json" else wall_clock,
        structlog.processors.StackInfoRenderer(),
    ]


def _formatter(form: _Form, *, colors: bool) -> structlog.stdlib.ProcessorFormatter:
    # Tracebacks become text before secrets are masked: they hold them, too.
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *_common(form)],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
    )
