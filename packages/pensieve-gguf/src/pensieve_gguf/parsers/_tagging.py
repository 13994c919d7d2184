"""Tags around the parameters of a call, and where a value between them ends.

A value may hold anything, its own closing tag included (a model that edits a template, say). So it ends only at a
closing tag that is followed by the next parameter or the end of the call; or where the call ends without one.

Pure. Above: `_tagged_calls`, and `pensieve_gguf.constraints`, which demands what is read there.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Final

import attrs

from pensieve_gguf.parsers._events import WHITE_SPACE

__all__ = ["GLM_TAGS", "QWEN_TAGS", "Tags", "end_of_value", "may_become", "overlap"]

_CALL_END: Final = "</tool_call>"


@attrs.frozen(kw_only=True, slots=False)
class Tags:
    """What stands around names, keys and values."""

    after_name: str
    """Ends the name; empty where the first key or the end of the call does."""
    key: str
    after_key: str
    value: str = ""
    """Stands before the value, if anything does but the end of the key."""
    after_value: str
    end: str
    """Of the call."""
    own_lines: bool = False
    """A value stands on lines of its own: one line break before and one behind it are no part of it."""

    @functools.cached_property
    def closers(self) -> re.Pattern[str]:
        """Finds what closes a value that was never closed properly: all the tags at the end of the text."""
        tags = "|".join(re.escape(tag) for tag in (self.after_value, self.end, _CALL_END))
        return re.compile(rf"{self._line_break}(?:(?:{tags})\s*)*$")

    @property
    def _line_break(self) -> str:
        return r"(?:\r?\n)?" if self.own_lines else ""

    def without_first_break(self, text: str) -> str:
        """Return the beginning of a value, less the line break before it."""
        return re.sub(r"^\r?\n", "", text) if self.own_lines else text


QWEN_TAGS: Final = Tags(
    after_name=">",
    key="<parameter=",
    after_key=">",
    after_value="</parameter>",
    end="</function>",
    own_lines=True,
)
GLM_TAGS: Final = Tags(
    after_name="",
    key="<arg_key>",
    after_key="</arg_key>",
    value="<arg_value>",
    after_value="</arg_value>",
    end="</tool_call>",
)


def end_of_value(text: str, tags: Tags) -> tuple[bool, int, int]:
    """Look for the end of a value at the beginning of `text`, of which more may come.

    Returns:
        Whether it ends; up to where `text` is part of it for certain; and from where on it is still to be read.
    """
    for closer, followers, start, stop in _closers(text, tags):
        after = text[stop:].lstrip(WHITE_SPACE)
        certain = _less_line_break(text, start, tags)
        if after.startswith(followers):
            return True, certain, start if closer == tags.end else len(text) - len(after)
        if may_become(after, *followers):
            return False, certain, certain
    begun = max(overlap(text, tag) for tag in (tags.after_value, tags.end))
    certain = _less_line_break(text, len(text) - begun, tags)
    return False, certain, certain


def _closers(text: str, tags: Tags) -> Iterator[tuple[str, tuple[str, ...], int, int]]:
    """Return each tag that may end the value, what must follow it then, and where it stands."""
    followers = {tags.after_value: (tags.key, tags.end), tags.end: (_CALL_END,)}
    for match in re.finditer("|".join(map(re.escape, followers)), text):
        yield match[0], followers[match[0]], match.start(), match.end()


def _less_line_break(text: str, length: int, tags: Tags) -> int:
    """Return how much of the first `length` characters is certain if a tag may stand behind them."""
    if not tags.own_lines:
        return length
    head = text[:length]
    return len(head.removesuffix("\n").removesuffix("\r"))


def overlap(text: str, tag: str) -> int:
    """Return the length of the longest end of `text` that is a proper beginning of `tag`."""
    return next((n for n in range(len(tag) - 1, 0, -1) if text.endswith(tag[:n])), 0)


def may_become(text: str, *tags: str) -> bool:
    """Tell whether `text`, of which more is to come, may become one of `tags`, and is none yet."""
    return any(tag.startswith(text) and tag != text for tag in tags)
