"""From text to token ids, fragment by fragment: a long prompt that grew costs only what it grew by.

    <|im_start|>  user⏎What is…  <|im_end|>  ⏎  <|im_start|>  assistant⏎
      special       fragment       special   …

Text is cut at control tokens and nowhere else: there every tokenizer begins anew (its merges, its pre-tokenizer, the
space that SentencePiece puts in front), so that the fragments' tokens are those of the whole text. Between the cuts a
control token's spelling is plain text. Tokens that only mark a dialect (`<tool_call>` of Qwen: "user-defined", no
control tokens) are found within fragments, as ever.

Pure, but for its cache. Above: the prompts, which know what may be cut. Below: the model's vocabulary.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Final, Protocol

import attrs

from pensieve_gguf.engine.lru import Lru
from pensieve_gguf.llama import Special, TokenIds

__all__ = ["Fragment", "Fragments", "Vocabulary", "any_of", "cuttable"]

_MAX_BYTES: Final = 32 << 20
"""Of text and token ids: some 150 prompts of Claude Code, had they nothing in common."""

_SPACE: Final = " \t\n\v\f\r"
"""C's `isspace`, by which llama.cpp strips around special tokens."""


class Vocabulary(Protocol):
    """What is needed of a model's vocabulary."""

    @property
    def specials(self) -> Mapping[str, Special]:
        """All control tokens by their spelling."""
        ...

    @property
    def first_token(self) -> int | None:
        """The begin-of-sequence token, when prompts must begin with it."""
        ...

    def tokenize_plain(self, text: str) -> TokenIds:
        """Return the ids of `text`, shape (n_tokens,), in which no control token is recognised."""
        ...


@attrs.frozen
class Fragment:
    """A piece of a text: offsets in characters, and its token ids."""

    start: int
    stop: int
    tokens: array[int]


def cuttable(specials: Mapping[str, Special]) -> dict[str, Special]:
    """Return those at which text is cut: a spelling of one character could not be kept out of it."""
    return {text: special for text, special in specials.items() if len(text) > 1}


def any_of(spellings: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds any of these texts, the longest where several begin.

    A tree of characters, not a list of words: vocabularies have thousands of control tokens that begin alike.
    """
    return re.compile(_tree(sorted(set(spellings))) or "(?!)")


def _tree(suffixes: list[str]) -> str:
    """Return a pattern for these sorted texts; empty when there is none but the empty one."""
    longer = [suffix for suffix in suffixes if suffix]
    branches = [
        re.escape(head) + _tree([suffix[1:] for suffix in group])
        for head, group in groupby(longer, key=lambda suffix: suffix[0])
    ]
    if not branches:
        return ""
    return f"(?:{'|'.join(branches)}){'?' if '' in suffixes else ''}"


class Fragments:
    """Tokenises, and remembers the tokens of each fragment.

    Args:
        vocabulary: The model's.
        max_bytes: What the memory may take.
    """

    def __init__(self, vocabulary: Vocabulary, max_bytes: int = _MAX_BYTES) -> None:
        self._vocabulary = vocabulary
        self._specials = cuttable(vocabulary.specials)
        self._special = any_of(self._specials)
        self._known: Lru[str, array[int]] = Lru(max_bytes)

    def specials_in(self, text: str) -> list[str]:
        """Return the control tokens of `text`, in order."""
        return self._special.findall(text)

    def cut(self, text: str, unwanted: re.Pattern[str], start: int, stop: int) -> Iterator[Fragment]:
        """Return the fragments of `text[start:stop]`, control tokens among them, in order and without a gap.

        Args:
            text: With control tokens spelled out.
            unwanted: What is to be left out of it; it keeps spellings apart that mean no token.
            start: An offset in characters.
            stop: Likewise.
        """
        before: Special | None = None
        for match in self._special.finditer(text, start, stop):
            special = self._specials[match[0]]
            plain = unwanted.sub("", text[start : match.start()])
            yield Fragment(start, match.start(), self.tokens(_stripped(plain, before, special)))
            yield Fragment(match.start(), match.end(), array("i", [special.id]))
            before, start = special, match.end()
        yield Fragment(start, stop, self.tokens(_stripped(unwanted.sub("", text[start:stop]), before, None)))

    def tokens(self, text: str) -> array[int]:
        """Return the token ids of `text` as plain text. Nobody may change them."""
        known = self._known.get(text)
        if known is None:
            known = array("i", self._vocabulary.tokenize_plain(text).tobytes()) if text else array("i")
            self._known.put(text, known, sys.getsizeof(text) + sys.getsizeof(known))
        return known


def _stripped(text: str, before: Special | None, after: Special | None) -> str:
    """Strip as the neighbours ask for: Phi's `<|end|>` swallows the white space behind it."""
    if before is not None and before.strips_after:
        text = text.lstrip(_SPACE)
    return text.rstrip(_SPACE) if after is not None and after.strips_before else text
