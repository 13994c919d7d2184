"""Which model a name means."""

import contextlib
from collections.abc import Mapping

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import ModelDescriptor, ModelNotFoundError
from pensieve_inference.testing import make_descriptor
from pensieve_registry._names import NameTable


def model(model_id: str, display_name: str | None = None) -> ModelDescriptor:
    return attrs.evolve(make_descriptor(model_id), display_name=display_name or model_id.upper())


QWEN, SMOL, LLAMA = model("qwen3-8b-q4_k_m", "Qwen3-8B-Q4_K_M"), model("smollm2-135m"), model("llama-3.2-3b")
MODELS = (QWEN, SMOL, LLAMA)


def table(aliases: Mapping[str, str] | None = None, default: str | None = None) -> NameTable:
    return NameTable(MODELS, aliases=aliases or {}, default=default)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("smollm2-135m", SMOL),
        ("SmolLM2-135M", SMOL),
        (" smollm2-135m\n", SMOL),
        ("smollm2-135m[1m]", SMOL),
        ("Qwen3-8B-Q4_K_M.gguf", QWEN),
        ("Qwen3-8B-Q4_K_M.gguf[1m]", QWEN),
        ("anthropic-smollm2-135m", SMOL),
        ("smol", SMOL),
        ("llama-3.2", LLAMA),
        ("default", QWEN),
        ("claude", QWEN),
        ("claude-opus-4-8", QWEN),
        ("claude-haiku-4-5-20251001", QWEN),
        ("claude-sonnet-4-5[1m]", QWEN),
        ("CLAUDE-SONNET-4-5", QWEN),
        ("anthropic/claude-sonnet-4.5", QWEN),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", QWEN),
    ],
)
def test_a_name_means(name: str, expected: ModelDescriptor) -> None:
    assert table().resolve(name) == expected


@pytest.mark.parametrize("name", ["", "sm", "gpt-4o", "claudette", "anthropics", "qwen3-8b-q4_k_m-more", "default-ish"])
def test_a_name_that_nobody_has_is_refused(name: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        table().resolve(name)
    assert caught.value.name == name
    assert set(caught.value.known) == {one.id for one in MODELS}


def test_the_names_that_resemble_a_mistyped_one_come_first() -> None:
    with pytest.raises(ModelNotFoundError, match=r"^model: lama-3\.2-3b \(available: llama-3\.2-3b, qwen3"):
        table().resolve("lama-3.2-3b")


def test_a_beginning_that_two_models_share_means_neither() -> None:
    names = NameTable([model("qwen3-8b"), model("qwen3-14b")], aliases={}, default=None)
    with pytest.raises(ModelNotFoundError):
        names.resolve("qwen3")


def test_an_id_goes_before_every_other_meaning() -> None:
    distilled = model("claude-3-distill")
    names = NameTable([QWEN, distilled], aliases={"claude-3-distill": QWEN.id}, default=None)
    assert names.resolve("claude-3-distill") == distilled


def test_a_display_name_that_two_models_have_means_the_preferred_one() -> None:
    names = NameTable([model("a", "Same"), model("a-2", "Same")], aliases={}, default=None)
    assert names.resolve("same").id == "a"


def test_an_alias_means_what_the_user_said() -> None:
    names = table({"Claude-Haiku-4-5": "smol", "fast": "SmolLM2-135M"})
    assert names.resolve("claude-haiku-4-5") == SMOL
    assert names.resolve("FAST[1m]") == SMOL
    assert names.resolve("claude-opus-4-8") == QWEN


def test_an_alias_may_mean_the_default() -> None:
    assert table({"boss": "default"}).resolve("boss") == QWEN


def test_aliases_are_followed_once() -> None:
    """Ours: a circle cannot hang, and is refused with the name that was asked for."""
    with pytest.raises(ModelNotFoundError) as caught:
        table({"ping": "pong", "pong": "ping"}).resolve("ping")
    assert caught.value.name == "ping"


def test_lists_an_alias_for_every_model_and_those_of_the_user_that_lead_somewhere() -> None:
    names = table({"fast": "smol", "lost": "nowhere"})
    assert names.aliases == {
        "anthropic-qwen3-8b-q4_k_m": QWEN.id,
        "anthropic-smollm2-135m": SMOL.id,
        "anthropic-llama-3.2-3b": LLAMA.id,
        "fast": SMOL.id,
    }


@pytest.mark.parametrize("default", ["smollm2-135m", "smol", "SMOLLM2-135M.gguf", "fast", "anthropic-smollm2-135m"])
def test_the_default_may_be_named_in_any_way(default: str) -> None:
    names = table({"fast": "smol"}, default=default)
    assert names.models == (SMOL, QWEN, LLAMA)
    assert names.resolve("claude-opus-4-8") == SMOL


@pytest.mark.parametrize("default", ["gpt-4o", "default", "claude-opus-4-8"])
def test_a_default_that_leads_nowhere_is_the_name_that_was_not_found(default: str) -> None:
    names = table(default=default)
    assert names.models == MODELS
    with pytest.raises(ModelNotFoundError) as caught:
        names.resolve("claude-haiku-4-5")
    assert caught.value.name == default
    assert names.resolve("smol") == SMOL


def test_without_models_no_name_means_anything() -> None:
    names = NameTable([], aliases={"a": "b"}, default=None)
    assert (names.models, names.aliases) == ((), {})
    with pytest.raises(ModelNotFoundError, match="claude-opus-4-8"):
        names.resolve("claude-opus-4-8")


@given(name=st.text())
def test_any_name_means_a_model_or_is_refused(name: str) -> None:
    with contextlib.suppress(ModelNotFoundError):
        assert table().resolve(name) in MODELS
