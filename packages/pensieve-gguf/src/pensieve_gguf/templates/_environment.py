"""A model's Jinja template as a function, run as foreign code.

A GGUF file may come from anyone, so its template gets the immutable sandbox and bounds on its source, its output,
its loops and on the operators that make large values out of small ones. Knows nothing of conversations; above is
`_template`, which decides what to do when a template fails.

The dialect is that of Hugging Face's `apply_chat_template` (block trimming, loop controls, `raise_exception`,
`strftime_now`, a `tojson` without HTML escapes, the `generation` tag), for which these templates are written.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["CompiledTemplate", "TemplateFailedError", "Today", "compile_template"]

Today = Callable[[], dt.date]
"""What day it is. Templates are told the month: one that wrote the day into the head of a prompt would have all prompts
computed anew every morning, and a conversation in the middle of the night. Clients that care say the day themselves,
where it does no harm; Claude Code does."""

_MAX_SOURCE: Final = 256 * 1024
"""Characters; the longest template that llama.cpp ships has 17,000."""
_MAX_OUTPUT: Final = 64 * 1024 * 1024
"""Characters; twice what an HTTP body may hold."""
_MAX_LOOPS: Final = 100_000
"""Sum of all `range` lengths in one rendering."""
_MAX_REPEATED: Final = 100_000
"""Characters that one `*` or `%` may make, or the exponent of `**`."""

_DAY: Final = re.compile(r"(?:[ /.,-]*%[-_]?[deajAuw])+[ /.,-]*")
"""Day of the month, the week or the year, and the marks around it."""

_PADDING_METHODS: Final = frozenset({"center", "expandtabs", "ljust", "rjust", "zfill"})
_PADDING_FILTERS: Final = frozenset({"center", "format", "wordwrap"})


class TemplateFailedError(Exception):
    """The template does not compile, refused the messages, or broke a bound."""


# What foreign Jinja code may raise: its own errors, and those of Python's operators.
_FAILURES: Final = (
    jinja2.TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}` marks training targets; for rendering it means nothing."""

    tags = {"generation"}  # noqa: RUF012 - so declared by Jinja

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the body."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    """The sandbox, with bounds on what can be made large."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401 - Jinja's
        """Evaluate an operator unless its result would be huge."""
        if _magnitude(operator, left, right) > _MAX_REPEATED:
            raise SecurityError(f"'{operator}' makes too large a value")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ANN401 - Jinja's
        """Refuse the methods that pad strings to any length."""
        return attr not in _PADDING_METHODS and super().is_safe_attribute(obj, attr, value)


def _magnitude(operator: str, left: object, right: object) -> int:
    """Bound the size of `left operator right`: exact for repetition, generous for the rest."""
    if operator == "%":
        return _MAX_REPEATED + 1 if isinstance(left, str) else 0
    if operator == "**":
        return abs(right) if isinstance(right, int) else 0
    match left, right:
        case (str() | list() | tuple() as repeated, int(times)) | (int(times), str() | list() | tuple() as repeated):
            return len(repeated) * times
        case _:
            return 0


class CompiledTemplate:
    """A template that compiled. Create with `compile_template`."""

    def __init__(self, template: jinja2.Template) -> None:
        self._template = template

    def render(self, variables: Mapping[str, object]) -> str:
        """Return the text for `variables`.

        Raises:
            TemplateFailedError: whatever the reason.
        """
        pieces: list[str] = []
        size = 0
        try:
            for piece in self._template.generate(**variables, range=_bounded_range()):
                pieces.append(piece)
                size += len(piece)
                if size > _MAX_OUTPUT:
                    raise TemplateFailedError(f"more than {_MAX_OUTPUT} characters")
        except _FAILURES as exc:
            raise TemplateFailedError(f"{type(exc).__name__}: {exc}") from exc
        return "".join(pieces)


def compile_template(source: str, today: Today) -> CompiledTemplate:
    """Compile a chat template.

    Raises:
        TemplateFailedError: it is too long, or no Jinja.
    """
    if len(source) > _MAX_SOURCE:
        raise TemplateFailedError(f"the source has more than {_MAX_SOURCE} characters")
    try:
        return CompiledTemplate(_environment(today).from_string(source))
    except _FAILURES as exc:
        raise TemplateFailedError(f"{type(exc).__name__}: {exc}") from exc


def _environment(today: Today) -> _Sandbox:
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _GenerationTag], autoescape=False
    )
    for name in _PADDING_FILTERS:
        del environment.filters[name]
    del environment.globals["lipsum"]
    environment.filters["tojson"] = _tojson
    # Nothing is escaped here; Jinja's own `safe` would begin to escape whatever is added to its result.
    environment.filters["safe"] = str
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: _strftime(today(), form)
    return environment


def _tojson(
    value: object,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - as above
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002 - as above
) -> str:
    # What `map` and `select` return are generators; llama.cpp's Jinja prints them as lists.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys, default=list
    )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime(day: dt.date, form: str) -> str:
    return dt.datetime.combine(day.replace(day=1), dt.time.min).strftime(_without_day(form))


def _without_day(form: str) -> str:
    """Return `form` without the day and what separates it: "%d %b %Y" → "%b %Y", "%B %d, %Y" → "%B %Y"."""
    for short, written in (("%F", "%Y-%m-%d"), ("%D", "%m/%d/%y")):
        form = form.replace(short, written)
    return _DAY.sub(" ", form).strip()


def _bounded_range() -> Callable[..., range]:
    """Return a `range` whose results together stay below the bound."""
    spent = 0

    def bounded(*arguments: int) -> range:
        nonlocal spent
        result = range(*arguments)
        spent += len(result)
        if spent > _MAX_LOOPS:
            raise OverflowError(f"more than {_MAX_LOOPS} loops")
        return result

    return bounded
