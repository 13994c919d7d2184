"""The forms that a conversation can be given, for templates differ in what they accept.

Values only. `_messages` brings a conversation into a form, `_probes` finds out which form a template wants.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator
from typing import Final

import attrs

__all__ = ["PLAIN_FORM", "ArgumentsForm", "CallsForm", "Form", "SystemForm", "ToolsForm", "candidates"]


class ToolsForm(enum.Enum):
    """Who writes tools, calls and results."""

    NATIVE = enum.auto()
    """The template does."""
    HERMES = enum.auto()
    """We do, as text."""


class SystemForm(enum.Enum):
    """Where system turns may stand as such; elsewhere they become user turns, where they stand."""

    IN_PLACE = enum.auto()
    LEADING = enum.auto()
    """At the start only."""
    AS_USER = enum.auto()
    """Nowhere."""


class CallsForm(enum.Enum):
    """How calls stand in the assistant's messages."""

    TOGETHER = enum.auto()
    """All calls of a turn with its text."""
    APART = enum.auto()
    """The text in a message before that of the calls."""
    SINGLE = enum.auto()
    """One call a message, each followed by its result."""
    SINGLE_APART = enum.auto()
    """Both."""


class ArgumentsForm(enum.Enum):
    """The type of a call's arguments."""

    OBJECT = enum.auto()
    JSON_TEXT = enum.auto()


@attrs.frozen(kw_only=True)
class Form:
    """One choice of each."""

    tools: ToolsForm = ToolsForm.NATIVE
    system: SystemForm = SystemForm.IN_PLACE
    calls: CallsForm = CallsForm.TOGETHER
    arguments: ArgumentsForm = ArgumentsForm.OBJECT
    absent_content: str | None = None
    """The content of a message that has only calls."""
    reasoning_key: str = "reasoning_content"
    """What a message's reasoning is called."""
    alternating: bool = False
    """User and assistant must take turns: user text after a tool's result joins the result."""


PLAIN_FORM: Final = Form(tools=ToolsForm.HERMES, system=SystemForm.AS_USER, alternating=True)
"""Nothing but user and assistant, in turns: what any template accepts."""


def candidates() -> Iterator[Form]:
    """All forms worth trying, the most faithful first."""
    native = itertools.product(SystemForm, (False, True), CallsForm, ArgumentsForm, (None, ""))
    for system, alternating, calls, arguments, absent in native:
        yield Form(system=system, alternating=alternating, calls=calls, arguments=arguments, absent_content=absent)
    for system, alternating in itertools.product(SystemForm, (False, True)):
        yield Form(tools=ToolsForm.HERMES, system=system, alternating=alternating)
