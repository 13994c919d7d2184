"""A model's vocabulary as llguidance wants it.

Not by llguidance's own adapter for llama.cpp: that one calls functions that llama-cpp-python has deprecated, once a
token, and keeps a pointer into the model.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

from llama_cpp import llama_cpp as lib
from llguidance import LLTokenizer, TokenizerWrapper

from pensieve_gguf.llama.model import Model

__all__ = ["begin_lltokenizer", "make_lltokenizer"]

_LONGEST = 1 << 12
_RENDER_SPECIAL = True


def make_lltokenizer(model: Model) -> LLTokenizer:
    """Return `model`'s tokenizer for llguidance; takes 0.2 to 1 s, so keep it.

    It does not tokenise once `model` is closed. The slices are llguidance's own for JSON: sets of tokens that are
    admitted or refused together within a string.
    """
    return _Source(model).made()


def begin_lltokenizer(path: Path) -> Callable[[Model], LLTokenizer]:
    """Do what `make_lltokenizer` does for the model in `path` before its weights are loaded.

    Its vocabulary is read by itself, and freed again. Keeps other threads from running Python for up to half as long as
    it takes.

    Returns:
        What completes the tokenizer, at once, once there is the model: it tokenises.

    Raises:
        LoadError: llama.cpp could not load it.
    """
    with contextlib.closing(Model(path, vocabulary_only=True)) as vocabulary:
        source = _Source(vocabulary)
        tokenizer = source.made()

    def complete(model: Model) -> LLTokenizer:
        source.model = model
        return tokenizer

    return complete


class _Source:
    """What `TokenizerWrapper` asks of a tokenizer."""

    bos_token_id = None

    def __init__(self, model: Model) -> None:
        self.model = model
        """Tokenises."""
        self._ends = sorted(model.end_tokens)
        self.eos_token_id = self._ends[0] if self._ends else 0
        self.tokens = _pieces(model)
        self.special_token_ids = [token for token, piece in enumerate(self.tokens) if _is_special(model, token, piece)]

    def made(self) -> LLTokenizer:
        """Return llguidance's own."""
        return LLTokenizer(TokenizerWrapper(self), eos_token=self._ends or None, slices=LLTokenizer.json_slices())

    def __call__(self, text: bytes) -> Sequence[int]:
        return self.model.tokenize(text.decode("utf-8", "replace"), add_bos=False).tolist()


def _pieces(model: Model) -> list[bytes]:
    """Return the bytes of all tokens."""
    buffer = ctypes.create_string_buffer(_LONGEST)
    view = memoryview(buffer)
    pieces = []
    for token in range(model.vocabulary_size):
        size = lib.llama_token_to_piece(model.vocab, token, buffer, _LONGEST, 0, _RENDER_SPECIAL)
        pieces.append(bytes(view[: max(0, size)]))
    return pieces


def _is_special(model: Model, token: int, piece: bytes) -> bool:
    """Tell whether `token` is no ordinary text: a control token, or one that was made to look like one.

    Qwen's `<tool_call>` is "user defined", and still it is what the model says, and not the letters.
    """
    attributes = lib.llama_vocab_get_attr(model.vocab, token)
    if attributes & lib.LLAMA_TOKEN_ATTR_CONTROL:
        return True
    marked = piece.startswith(b"<") and piece.endswith(b">")
    return marked and bool(attributes & lib.LLAMA_TOKEN_ATTR_USER_DEFINED)
