r"""A JSON value as a language model writes it, made legal while it streams.

    feed("{\"command\": \"ls\n")  →  take() == '{"command":"ls\\n'

Theory of operation. A pushdown machine over characters. What it has let out can always be completed to legal
JSON: commas and keys wait (`_pending`) until their value begins, escapes, numbers and words until they are whole;
only the contents of strings flow freely. White space between tokens is dropped.

Repaired: raw control characters and bad escapes in strings, quotes that were not escaped (a quote ends a string only
before a delimiter), single quotes and backticks as quotes, keys and values without quotes, trailing and missing
commas, brackets left open. Anything else ends the value where it stands: it is closed, and the rest is `unread`.

Between the call readers and nothing; knows JSON, not tools.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from typing import ClassVar, Final

import orjson

from pensieve_gguf.parsers._events import WHITE_SPACE
from pensieve_gguf.parsers._tags import CALL_CLOSERS

__all__ = ["QUOTES", "JsonStream"]

QUOTES: Final = "\"'`"
_ESCAPES: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_UNICODE_DIGITS: Final = 4
_REPLACEMENT: Final = "\ufffd"
_PLAIN: Final = re.compile(r"""[^\\"'`\x00-\x1f]+""")
"""String contents that need no thought; taken at once, for speed alone."""
_HIGH_SURROGATES: Final = range(0xD800, 0xDC00)
_LOW_SURROGATES: Final = range(0xDC00, 0xE000)
_CLOSING: Final = {"{": "}", "[": "]"}


class _State(enum.Enum):
    VALUE = enum.auto()
    """A value, or the end of an array."""
    KEY = enum.auto()
    """A key, or the end of an object."""
    BARE_KEY = enum.auto()
    COLON = enum.auto()
    STRING = enum.auto()
    ESCAPE = enum.auto()
    UNICODE = enum.auto()
    QUOTE = enum.auto()
    """A quote was read; whether it ends the string depends on what follows."""
    WORD = enum.auto()
    AFTER_VALUE = enum.auto()


class JsonStream:
    """One JSON value, of any type, character by character.

    `finished`: the value is whole, or was closed by force. `unread`: what came after it and is the owner's to
    read. `irregular`: the text so far was not quite JSON.
    """

    def __init__(self) -> None:
        self.finished = False
        self.irregular = False
        self.unread = ""
        self._state = _State.VALUE
        self._stack: list[str] = []
        self._filled: list[bool] = []
        """Beside `_stack`: whether that object or array has a value already."""
        self._pending = ""
        self._out: list[str] = []
        self._in_key = False
        self._quote = ""
        self._held = ""
        self._high_surrogate = 0

    @property
    def begun(self) -> bool:
        """The value has begun, or is whole."""
        return self.finished or bool(self._stack) or self._state is not _State.VALUE

    def feed(self, text: str) -> None:
        """Take more characters; once `finished`, they are `unread`."""
        position = 0
        while position < len(text) and not self.finished:
            plain = _PLAIN.match(text, position) if self._state is _State.STRING else None
            if plain is not None:
                self._flush_surrogate()
                self._put_raw(plain.group())
                position = plain.end()
            else:
                self._STEPS[self._state](self, text[position])
                position += 1
        self.unread += text[position:]

    def take(self) -> str:
        """Return the legal JSON text that became safe since the last time."""
        text = "".join(self._out)
        self._out.clear()
        return text

    def close(self) -> None:
        """No more text will come: complete what is open. A key without its value is dropped."""
        if self.finished:
            return
        self.irregular = True
        self._close_scalar()
        self._close_brackets()

    def _close_scalar(self) -> None:
        if self._state is _State.WORD:
            self._out.append(_legal_word(self._held))
        elif self._state in _IN_STRING and not self._in_key:
            self._flush_surrogate()
            self._out.append('"')

    def _close_brackets(self) -> None:
        self._out.extend(_CLOSING[bracket] for bracket in reversed(self._stack))
        self._stack.clear()
        self._pending = ""
        self.finished = True

    # Between values.

    def _value(self, char: str) -> None:
        if char in WHITE_SPACE:
            return
        if char in _CLOSING:
            self._open(char)
        elif char in QUOTES:
            self._release()
            self._open_string(char, in_key=False)
        elif self._stack and char in ",]}":
            self._value_missing(char)
        elif char.isalnum() or char in "-+_./~$":
            self._release()
            self._held = char
            self._state = _State.WORD
        else:
            self._give_up(char)

    def _value_missing(self, char: str) -> None:
        """`[1,]`, `[1,,2]` or `{"a":}`: drop the comma or the key."""
        self.irregular = self.irregular or bool(self._pending) or char == ","
        self._pending = ""
        self._state = _State.AFTER_VALUE
        self.feed(char)

    def _key(self, char: str) -> None:
        if char == "}":
            self.irregular = self.irregular or bool(self._pending)
            self._pending = ""
            self._close(char)
        elif char in QUOTES:
            self._open_string(char, in_key=True)
        elif char.isalpha() or char in "_$":
            self.irregular = True
            self._held = char
            self._state = _State.BARE_KEY
        elif char == ",":
            self.irregular = True
        elif char not in WHITE_SPACE:
            self._give_up(char)

    def _bare_key(self, char: str) -> None:
        if char == ":":
            self._pending += f"{_quoted(self._held.rstrip(WHITE_SPACE))}:"
            self._state = _State.VALUE
        elif char.isalnum() or char in "_$-." or char in WHITE_SPACE:
            self._held += char
        else:
            self._pending += self._held
            self._give_up(char)

    def _colon(self, char: str) -> None:
        if char == ":":
            self._pending += char
            self._state = _State.VALUE
        else:
            self._give_up(char)

    def _after_value(self, char: str) -> None:
        if char in WHITE_SPACE:
            return
        if char == ",":
            self._expect_next()
        elif char in "]}":
            self._close(char)
        elif char in QUOTES:
            self.irregular = True
            self._expect_next()
            self.feed(char)
        else:
            self._give_up(char)

    def _expect_next(self) -> None:
        # A container whose first value is missing has nothing to separate yet.
        self._pending = "," if self._filled[-1] else ""
        self._state = _State.KEY if self._stack[-1] == "{" else _State.VALUE

    # Brackets.

    def _release(self) -> None:
        """A value begins: what led up to it may go out."""
        if self._filled:
            self._filled[-1] = True
        self._out.append(self._pending)
        self._pending = ""

    def _open(self, bracket: str) -> None:
        self._release()
        self._out.append(bracket)
        self._stack.append(bracket)
        self._filled.append(False)
        self._state = _State.KEY if bracket == "{" else _State.VALUE

    def _close(self, char: str) -> None:
        """Close up to the bracket that `char` belongs to; one that belongs nowhere ends it all."""
        opening = "{" if char == "}" else "["
        if opening not in self._stack:
            self._give_up(char)
            return
        while self._stack[-1] != opening:
            self.irregular = True
            self._pop()
        self._pop()
        self._end_value()

    def _pop(self) -> None:
        self._out.append(_CLOSING[self._stack.pop()])
        self._filled.pop()

    def _end_value(self) -> None:
        if self._stack:
            self._state = _State.AFTER_VALUE
        else:
            self.finished = True

    def _give_up(self, char: str) -> None:
        """Close everything; the key without a value, and `char`, are the owner's to read."""
        self.irregular = True
        self.unread = self._pending.lstrip(",") + char
        self._close_brackets()

    # Strings.

    def _open_string(self, quote: str, *, in_key: bool) -> None:
        self.irregular = self.irregular or quote != '"'
        self._quote = quote
        self._in_key = in_key
        self._put_raw('"')
        self._state = _State.STRING

    def _string(self, char: str) -> None:
        if char == "\\":
            self._state = _State.ESCAPE
        elif char == self._quote:
            self._held = ""
            self._state = _State.QUOTE
        else:
            self._put(char)

    def _escape(self, char: str) -> None:
        self._state = _State.STRING
        if char in _ESCAPES:
            self._put(_ESCAPES[char])
        elif char == "u":
            self._held = ""
            self._state = _State.UNICODE
        elif char in QUOTES:
            self.irregular = True
            self._put(char)
        else:
            self._literal_backslash(char)

    def _unicode(self, char: str) -> None:
        self._held += char
        if char not in "0123456789abcdefABCDEF":
            self._state = _State.STRING
            self._literal_backslash(f"u{self._held}")
        elif len(self._held) == _UNICODE_DIGITS:
            self._state = _State.STRING
            self._put_code(int(self._held, 16))

    def _literal_backslash(self, rest: str) -> None:
        r"""`C:\Users`: the backslash meant itself."""
        self.irregular = True
        self._put("\\")
        self.feed(rest)

    def _after_quote(self, char: str) -> None:
        self._held += char
        follows = self._held.lstrip(WHITE_SPACE)
        if not follows:
            return
        if follows in (":" if self._in_key else ",]}:") or follows in CALL_CLOSERS:
            self._end_string()
            self.feed(follows)
        elif not any(closer.startswith(follows) for closer in CALL_CLOSERS):
            self._literal_quote()

    def _literal_quote(self) -> None:
        """The quote belonged to the contents; what followed it does, too."""
        self.irregular = True
        self._state = _State.STRING
        self._put(self._quote)
        self.feed(self._held)

    def _end_string(self) -> None:
        self._flush_surrogate()
        self._put_raw('"')
        if self._in_key:
            self._state = _State.COLON
        else:
            self._end_value()

    def _put(self, char: str) -> None:
        """Add one character to a string."""
        self._flush_surrogate()
        self._put_raw(_quoted(char)[1:-1])

    def _put_code(self, code: int) -> None:
        r"""Add the character of a `\u` escape; a surrogate waits for its other half, or becomes U+FFFD."""
        if code in _HIGH_SURROGATES:
            self._flush_surrogate()
            self._high_surrogate = code
        elif code in _LOW_SURROGATES:
            high, self._high_surrogate = self._high_surrogate, 0
            self._put(_joined(high, code) if high else _REPLACEMENT)
        else:
            self._put(chr(code))

    def _flush_surrogate(self) -> None:
        if self._high_surrogate:
            self._high_surrogate = 0
            self._put_raw(_REPLACEMENT)

    def _put_raw(self, text: str) -> None:
        if self._in_key:
            self._pending += text
        else:
            self._out.append(text)

    # Numbers, literals, and words that should have been strings.

    def _word(self, char: str) -> None:
        if char in ",]}\r\n" or (_is_scalar(self._held) and not (char.isalnum() or char in "-+.")):
            self._out.append(_legal_word(self._held))
            self._end_value()
            self.feed(char)
        else:
            self._held += char

    _STEPS: ClassVar[Mapping[_State, Callable[[JsonStream, str], None]]] = {
        _State.VALUE: _value,
        _State.KEY: _key,
        _State.BARE_KEY: _bare_key,
        _State.COLON: _colon,
        _State.STRING: _string,
        _State.ESCAPE: _escape,
        _State.UNICODE: _unicode,
        _State.QUOTE: _after_quote,
        _State.WORD: _word,
        _State.AFTER_VALUE: _after_value,
    }


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def _joined(high: int, low: int) -> str:
    """Return the character that two surrogates stand for."""
    return bytes.fromhex(f"{high:04x}{low:04x}").decode("utf-16-be")


def _is_scalar(word: str) -> bool:
    try:
        orjson.loads(word)
    except orjson.JSONDecodeError:
        return False
    return True


def _legal_word(word: str) -> str:
    """`word` itself when it is a number, `true`, `false` or `null`; else as a string."""
    return word if _is_scalar(word) else _quoted(word.rstrip(WHITE_SPACE))


_IN_STRING: Final = frozenset({_State.STRING, _State.ESCAPE, _State.UNICODE, _State.QUOTE})
