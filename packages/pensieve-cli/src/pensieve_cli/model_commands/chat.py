"""A conversation in the terminal: what is asked, what comes back, what is remembered. Pure.

Above: `talking`, the shell. Below: whoever answers, a `Partner`: a running server (`server_partner`) or an engine of
our own (`engine_partner`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Literal, Protocol, TypeAlias, assert_never

import attrs

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode

__all__ = [
    "ChatReport",
    "Ending",
    "Heard",
    "History",
    "Message",
    "Partner",
    "Piece",
    "Question",
    "Text",
    "Thought",
    "divide_words",
    "figures",
    "joined",
    "safe_on_terminal",
]

_ESCAPES = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


@attrs.frozen(kw_only=True)
class Message:
    """One turn."""

    role: Literal["user", "assistant"]
    text: str


@attrs.frozen(kw_only=True)
class Question:
    """All that a partner needs: the conversation so far, ending with the user's turn."""

    system: str
    messages: tuple[Message, ...]
    max_tokens: int


@attrs.frozen
class Text:
    """More of the answer."""

    text: str


@attrs.frozen
class Thought:
    """More of the reasoning."""

    text: str


@attrs.frozen(kw_only=True)
class Ending:
    """The answer is whole. Reasons are those of the Messages API."""

    stop_reason: str
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int


Piece: TypeAlias = Text | Thought | Ending


class Partner(Protocol):
    """Who answers."""

    @property
    def model(self) -> str:
        """The model's id."""
        ...

    @property
    def server(self) -> str | None:
        """The URL of the server; None: it is an engine of our own."""
        ...

    def answer(self, question: Question) -> Generator[Piece, None, None]:
        """Yield the answer as it comes, an `Ending` last. Closing the generator ends it.

        Raises:
            CommandError, PensieveError: there is none.
        """
        ...


@attrs.frozen(kw_only=True)
class History:
    """What was said. It only grows at its end, so that each prompt begins as the one before."""

    system: str
    max_tokens: int
    messages: tuple[Message, ...] = ()

    def question(self, text: str) -> Question:
        """Return what to ask now."""
        asked = Message(role="user", text=text)
        return Question(system=self.system, messages=(*self.messages, asked), max_tokens=self.max_tokens)

    def after(self, text: str, answer: str) -> History:
        """Return the history with this exchange; one that was ended before its first word was none."""
        if not answer.strip():
            return self
        exchange = (Message(role="user", text=text), Message(role="assistant", text=answer))
        return attrs.evolve(self, messages=(*self.messages, *exchange))


@attrs.define(kw_only=True)
class Heard:
    """An answer as far as it has come. Times are seconds on one clock."""

    began: float
    text: str = ""
    thinking: str = ""
    first_at: float | None = None
    ended_at: float | None = None
    ending: Ending | None = None

    def feed(self, piece: Piece, now: float) -> None:
        """Take the next piece."""
        match piece:
            case Text():
                self.text += piece.text
            case Thought():
                self.thinking += piece.text
            case Ending():
                self.ending, self.ended_at = piece, now
            case _:
                assert_never(piece)
        if self.first_at is None:
            self.first_at = now


@attrs.frozen(kw_only=True)
class ChatReport:
    """All that `run --json` prints."""

    model: str
    server: str | None
    """Its URL; null: the engine ran in a worker of this command."""
    text: str
    thinking: str
    stop_reason: str
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    first_token_s: float
    """Until anything came."""
    seconds: float

    @classmethod
    def of(cls, heard: Heard, partner: Partner) -> ChatReport:
        """Return the report of a whole answer."""
        assert heard.ending is not None  # noqa: S101 - a partner ends or raises
        assert heard.first_at is not None  # noqa: S101
        return cls(
            model=partner.model,
            server=partner.server,
            text=heard.text,
            thinking=heard.thinking,
            stop_reason=heard.ending.stop_reason,
            prompt_tokens=heard.ending.prompt_tokens,
            cached_tokens=heard.ending.cached_tokens,
            generated_tokens=heard.ending.generated_tokens,
            first_token_s=round(heard.first_at - heard.began, 3),
            seconds=round((heard.ended_at or heard.first_at) - heard.began, 3),
        )


def divide_words(
    words: Sequence[str], knows: Callable[[str], bool], advice: Callable[[str], str], *, alone: bool
) -> tuple[str | None, str]:
    """Return the model that is named, if one is, and the text.

    Args:
        words: What stands behind `run`.
        knows: Whether a word names a model.
        advice: What to say of a model that is not here, behind that; empty where there is nothing.
        alone: Nothing is piped in: a single unknown word is then a model that was mistyped rather than a text. So it is
            where there is advice on it.

    Raises:
        CommandError: a model is meant, and nobody knows it.
    """
    if not words:
        return None, ""
    first, *rest = words
    if not _is_text(first) and knows(first):
        return first, " ".join(rest)
    if not rest and (_is_text(first) or not (alone or advice(first))):
        return None, first
    msg = f"nobody knows the model {first} (pensieve-server list has all); a text stands in quotes{advice(first)}"
    raise CommandError(msg, ExitCode.NOT_FOUND)


def joined(text: str, piped: str) -> str:
    """Return what is asked: the text, and what was piped in below it."""
    return "\n\n".join(part for part in (text.strip(), piped.strip()) if part)


def figures(heard: Heard) -> str:
    """Return a line on how fast it was."""
    if heard.ending is None or heard.first_at is None or heard.ended_at is None:
        return "ended"
    ending, decode_s = heard.ending, heard.ended_at - heard.first_at
    speed = (
        f", {(ending.generated_tokens - 1) / decode_s:.1f} tok/s" if ending.generated_tokens > 1 and decode_s else ""
    )
    first = f"first after {heard.first_at - heard.began:.1f} s"
    return f"{ending.generated_tokens} tokens{speed}, {first}, {ending.cached_tokens} of {ending.prompt_tokens} known"


def safe_on_terminal(text: str) -> str:
    """Return `text` without what a terminal would obey: a model may say anything, escape sequences too."""
    return text.translate(_ESCAPES)


def _is_text(word: str) -> bool:
    return any(character.isspace() for character in word)
