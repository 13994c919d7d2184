"""Ours: which control tokens reach the parser. The spellings are those of the families' vocabularies."""

from __future__ import annotations

import pytest

from pensieve_gguf.llama.shown import is_shown


@pytest.mark.parametrize(
    "spelling",
    [
        *("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]"),
        *("<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<\uff5ctool▁sep\uff5c>", "<think>", "<|python_tag|>"),
        *("<|tool_call>", "<tool_call|>", '<|"|>', "<|channel>", "<|START_THINKING|>"),
    ],
)
def test_what_marks_a_dialect_is_shown(spelling: str) -> None:
    assert is_shown(spelling)


@pytest.mark.parametrize("spelling", ["<|im_end|>", "</s>", "<|eot_id|>", "[INST]", "<|end|>", "<|start|>", "<unk>"])
def test_all_other_control_tokens_are_hidden(spelling: str) -> None:
    assert not is_shown(spelling)
