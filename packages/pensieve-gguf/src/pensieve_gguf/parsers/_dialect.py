"""Which way of calling tools a chat template shows to its model.

A pure function of the template's text. It chooses the machine that reads answers, and how calls are spelled that are
demanded (`pensieve_gguf.constraints`). Reading stays tolerant of all the others.
"""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["Dialect", "dialect_of"]


class Dialect(enum.Enum):
    """A family's way of writing calls."""

    HERMES = enum.auto()
    """JSON in tags: Hermes, Qwen 2.5 and 3; and everybody whose template knows no tools, for so we describe them."""
    QWEN_CODER = enum.auto()
    """Tags for function and parameters: Qwen3-Coder, Qwen 3.5, Nemotron 3."""
    LLAMA = enum.auto()
    """JSON with "parameters", bare or behind a mark: Llama 3.x."""
    MISTRAL_LIST = enum.auto()
    """A JSON list behind a mark: Mistral's models of 2024."""
    MISTRAL = enum.auto()
    """Mark, name, JSON: Mistral's models since then."""
    DEEPSEEK_V3 = enum.auto()
    """JSON in a fence between special tokens: DeepSeek R1, V3 and their children."""
    DEEPSEEK_V31 = enum.auto()
    """Likewise without the fence."""
    HARMONY = enum.auto()
    """Channels with recipients: gpt-oss."""
    GLM = enum.auto()
    """Tags for keys and values: GLM 4.5 and later."""
    GEMMA = enum.auto()
    """Something like JSON, with a token for quotes: Gemma 4."""
    KIMI = enum.auto()
    """Numbered names and JSON between special tokens: Kimi K2."""


_SIGNS: Final = (
    (Dialect.HARMONY, ("<|channel|>", "<|message|>")),
    (Dialect.GEMMA, ("<|tool_call>call:",)),
    (Dialect.KIMI, ("<|tool_call_begin|>",)),
    (Dialect.DEEPSEEK_V3, ("<\uff5ctool▁calls▁begin\uff5c>", "```json")),
    (Dialect.DEEPSEEK_V31, ("<\uff5ctool▁calls▁begin\uff5c>",)),
    (Dialect.GLM, ("<arg_key>", "<arg_value>")),
    (Dialect.QWEN_CODER, ("<function=", "<parameter=")),
    (Dialect.MISTRAL, ("[TOOL_CALLS]", "[ARGS]")),
    (Dialect.MISTRAL_LIST, ("[TOOL_CALLS]",)),
    (Dialect.LLAMA, ("<|start_header_id|>", '"parameters": ')),
)
"""All of these texts stand in the template; the first that fits counts."""


def dialect_of(template_source: str) -> Dialect:
    """Return the dialect that a template shows; Hermes' when it shows none."""
    fitting = (dialect for dialect, signs in _SIGNS if all(sign in template_source for sign in signs))
    return next(fitting, Dialect.HERMES)
