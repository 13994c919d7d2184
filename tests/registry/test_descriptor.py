"""From a header to what people and engines want to know of a model."""

import os
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import ModelCapabilities, ModelDescriptor
from pensieve_registry import GgufHeaderError, read_gguf_model
from pensieve_registry._descriptor import describe, model_id, why_not_a_chat_model
from pensieve_registry.testing import chat_model, key, write_chat_model
from pensieve_registry.testing._gguf import Value

SAFE = set("abcdefghijklmnopqrstuvwxyz0123456789._-")


def described(path: Path, metadata: dict[str, Value] | None = None) -> ModelDescriptor:
    return describe(read_gguf_model(write_chat_model(path, metadata)), source="test")


def test_describes_a_model(tmp_path: Path) -> None:
    path = write_chat_model(tmp_path / "Ada-7B.Q4_K_M.gguf", {"general.file_type": 15})
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert describe(read_gguf_model(path), source="models folder") == ModelDescriptor(
        id=model_id("ada-7b.q4_k_m"),
        display_name="Ada-7B.Q4_K_M",
        path=path,
        source="models folder",
        architecture="llama",
        size_bytes=path.stat().st_size,
        context_tokens=2048,
        created_at=1_700_000_000,
        parameters=512,
        quantization="Q4_K_M",
        capabilities=ModelCapabilities(),
    )


def test_a_guessed_file_type_counts_as_said(tmp_path: Path) -> None:
    """LLAMA_FTYPE_GUESSED is a flag, 1024, on top of the type."""
    assert described(tmp_path / "m.gguf", {"general.file_type": 1024 + 7}).quantization == "Q8_0"


@pytest.mark.parametrize("metadata", [{}, {"general.file_type": 999}])
def test_without_a_known_file_type_the_commonest_tensor_type_counts(tmp_path: Path, metadata: dict[str, Value]) -> None:
    draft = chat_model(metadata, shapes={"a": (32, 100), "b": (32, 100)}, kind=8)
    (tmp_path / "m.gguf").write_bytes(draft.encode())
    assert describe(read_gguf_model(tmp_path / "m.gguf"), source="test").quantization == "Q8_0"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ messages }}", ModelCapabilities()),
        ("{% if tools %}{{ tools }}{% endif %}", ModelCapabilities(tool_template=True)),
        ("{{ toolset }}", ModelCapabilities()),
        ("<think>{{ x }}</think>", ModelCapabilities(thinking=True)),
        ("{% if enable_thinking %}", ModelCapabilities(thinking=True)),
        ("<|channel|>analysis", ModelCapabilities(thinking=True)),
    ],
)
def test_the_template_tells_what_the_model_can_do(tmp_path: Path, template: str, expected: ModelCapabilities) -> None:
    assert described(tmp_path / "m.gguf", {"tokenizer.chat_template": template}).capabilities == expected


def test_a_second_template_for_tools_counts(tmp_path: Path) -> None:
    """Command R brings `tokenizer.chat_template.tool_use`."""
    templates: dict[str, Value] = {
        "tokenizer.chat_template": "{{ messages }}",
        "tokenizer.chat_template.tool_use": "{{ tools }}",
        "tokenizer.chat_templates": ["tool_use"],
    }
    assert described(tmp_path / "m.gguf", templates).capabilities.tool_template


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"general.architecture": ""}, "key 'general.architecture' is missing"),
        ({"general.architecture": "gemma3"}, "key 'gemma3.context_length' is missing"),
        ({"llama.context_length": 0}, "key 'llama.context_length': 0 is no possible length of a context"),
        ({"llama.context_length": 2**32 - 1}, "key 'llama.context_length': 4294967295 is no possible length of a"),
        ({"tokenizer.chat_template": "x" * 1_100_000}, "key 'tokenizer.chat_template': a template of 1100000 bytes"),
    ],
)
def test_refuses_what_no_engine_could_run(tmp_path: Path, metadata: dict[str, Value], message: str) -> None:
    with pytest.raises(GgufHeaderError) as caught:
        described(tmp_path / "m.gguf", metadata)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, None),
        ({"general.type": "model"}, None),
        ({"general.type": "mmproj"}, "a projector of images or sound, which belongs to another model"),
        ({"general.architecture": "clip"}, "a projector of images or sound, which belongs to another model"),
        ({"general.type": "adapter"}, "a LoRA adapter, which changes another model"),
        ({"adapter.type": "lora"}, "a LoRA adapter, which changes another model"),
        ({"general.type": "imatrix"}, "an importance matrix, which helps to quantise another model"),
        ({"llama.pooling_type": 1}, "an embedding model, which does not generate text"),
        ({"llama.pooling_type": 0}, None),
        ({"llama.attention.causal": False}, "an embedding model, which does not generate text"),
        ({"llama.attention.causal": True}, None),
    ],
)
def test_knows_files_that_are_no_chat_models(tmp_path: Path, metadata: dict[str, Value], reason: str | None) -> None:
    model = read_gguf_model(write_chat_model(tmp_path / "m.gguf", metadata))
    assert why_not_a_chat_model(model) == reason


def test_knows_a_vocabulary_without_weights(tmp_path: Path) -> None:
    """llama.cpp's own `ggml-vocab-*.gguf`."""
    draft = attrs.evolve(chat_model(), tensors=(), data=b"", keys=(key("general.architecture", "llama"),))
    (tmp_path / "vocab.gguf").write_bytes(draft.encode())
    assert why_not_a_chat_model(read_gguf_model(tmp_path / "vocab.gguf")) == "a vocabulary without weights"


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("SmolLM2-135M-Instruct.Q4_1", "smollm2-135m-instruct.q4_1"),
        ("My Model (final)", "my-model-final"),
        ("../../etc/passwd", "etc-passwd"),
        ("…", "model"),
    ],
)
def test_the_id_is_the_files_name_made_safe(stem: str, expected: str) -> None:
    assert model_id(stem) == expected


@given(st.text())
def test_every_name_makes_a_safe_id(stem: str) -> None:
    made = model_id(stem)
    assert made
    assert set(made) <= SAFE
    assert model_id(made) == made
