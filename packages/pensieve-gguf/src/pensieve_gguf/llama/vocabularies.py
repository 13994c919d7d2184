"""Whether two models speak of the same tokens, so that one can guess for the other.

The rules are those of llama.cpp's own speculative decoding (common/speculative.cpp): the same kind of tokenizer, the
same special tokens, nearly as many tokens, for vocabularies are padded differently, and the same texts from the sixth
on: the first ones are control tokens, which differ in their spelling alone.
"""

from __future__ import annotations

from collections.abc import Callable

from llama_cpp import llama_cpp as lib

from pensieve_gguf.llama.model import Model

__all__ = ["vocabularies_differ"]

_MOST_PADDING = 128
"""SPEC_VOCAB_MAX_SIZE_DIFFERENCE."""
_FIRST_COMPARED = 5
"""SPEC_VOCAB_CHECK_START_TOKEN_ID."""
_BEGINNING = (lib.llama_vocab_get_add_bos, lib.llama_vocab_bos)
_END = (lib.llama_vocab_get_add_eos, lib.llama_vocab_eos)


def vocabularies_differ(model: Model, other: Model) -> str | None:
    """Return in what the tokens of two models differ, in words; None: they do not.

    That takes 25 ms for 49,152 tokens (SmolLM2), and 80 ms for 151,936 (Qwen).
    """
    ours, theirs = (lib.llama_vocab_type(one.vocab) for one in (model, other))
    if ours != theirs:
        return f"their tokenizers are of the kinds {ours} and {theirs}"
    for name, special in (("begin", _BEGINNING), ("end", _END)):
        added, wanted = (_added(one, *special) for one in (model, other))
        if added != wanted:
            return f"their texts {name} with the tokens {added} and {wanted}"
    ours, theirs = model.vocabulary_size, other.vocabulary_size
    if abs(ours - theirs) > _MOST_PADDING:
        return f"they have {ours:,} and {theirs:,} tokens"
    return _differing_text(model, other, min(ours, theirs))


def _added(model: Model, is_added: Callable[..., bool], token: Callable[..., int]) -> int | None:
    return token(model.vocab) if is_added(model.vocab) else None


def _differing_text(model: Model, other: Model, count: int) -> str | None:
    text = lib.llama_vocab_get_text
    for token in range(_FIRST_COMPARED, count):
        if text(model.vocab, token) != text(other.vocab, token):
            ours, theirs = (text(one.vocab, token).decode("utf-8", "replace") for one in (model, other))
            return f"token {token} is {ours!r} and {theirs!r}"
    return None
