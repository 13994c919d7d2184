"""A vocabulary whose tokens are ambiguous on purpose: a text has many tokenisations, and a model may sample any."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Mapping

import attrs
import numpy as np
import pytest

from pensieve_gguf.llama import Special, TokenIds

_MERGED = ("ab", "abc", "bc", "th", "the", "he", "in", "ing", "ng", "\n\n", " a", " th", '{"', '":', '": "', '"}', "rl")
_PIECES = [*(bytes([byte]) for byte in range(256)), *(text.encode() for text in _MERGED)]
_IDS = {piece: token for token, piece in enumerate(_PIECES)}
_LONGEST = re.compile(
    b"|".join([*(re.escape(piece) for piece in sorted(_PIECES[256:], key=len, reverse=True)), b"(?s:.)"])
)
_SPECIALS = ("<|im_start|>", "<|im_end|>", "<s>", "</s>", "<think>", "</think>", "<|end|>", "<|end|>more")


@attrs.frozen(slots=False)
class ToyVocabulary:
    """Tokens 0 to 255 are bytes; then come texts of several bytes, then the control tokens.

    `tokenize_plain` takes the longest token everywhere. As SentencePiece does, it can put a space before a text.
    """

    begins: bool = False
    """Prompts begin with `<s>`."""
    space_prefix: bool = False
    strips: bool = False
    """`<|end|>` swallows the white space around it."""

    @functools.cached_property
    def specials(self) -> Mapping[str, Special]:
        start = len(_PIECES)
        return {
            text: Special(
                id=start + number,
                shown="think" in text,
                strips_before=self.strips and text == "<|end|>",
                strips_after=self.strips and text == "<|end|>",
            )
            for number, text in enumerate(_SPECIALS)
        }

    @property
    def first_token(self) -> int | None:
        return self.specials["<s>"].id if self.begins else None

    def tokenize_plain(self, text: str) -> TokenIds:
        pieces = _LONGEST.findall((" " + text if self.space_prefix else text).encode())
        return np.array([_IDS[piece] for piece in pieces], dtype=np.int32)

    def tokenize_whole(self, text: str) -> list[int]:
        """Return the ids of a text whose control tokens are parsed, as llama.cpp does it: all at once."""
        found = [(text.index(special), -len(special), special) for special in self.specials if special in text]
        if not found:
            return self.tokenize_plain(text).tolist() if text else []
        start, _, special = min(found)
        before, after = text[:start], text[start + len(special) :]
        if self.specials[special].strips_before:
            before, after = before.rstrip(), after.lstrip()
        head = self.tokenize_plain(before).tolist() if before else []
        return [*head, self.specials[special].id, *self.tokenize_whole(after)]

    def sampled(self, text: str, rng: random.Random) -> list[int]:
        """Return any tokens that read as `text`."""
        data, ids = text.encode(), []
        while data:
            fitting = [piece for piece in (data[:1], data[:2], data[:3], data[:4]) if piece in _IDS]
            piece = rng.choice(fitting)
            ids.append(_IDS[piece])
            data = data[len(piece) :]
        return ids

    def is_end(self, token: int) -> bool:
        return token == self.specials["<|im_end|>"].id

    def piece(self, token: int) -> bytes:
        if token < len(_PIECES):
            return _PIECES[token]
        text = _SPECIALS[token - len(_PIECES)]
        return text.encode() if self.specials[text].shown else b""


@pytest.fixture(scope="session")
def toy() -> type[ToyVocabulary]:
    return ToyVocabulary
