"""Ours: a model with an adapter has a name of its own."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import LoraAdapter, ModelDescriptor, ModelId, ModelNotFoundError
from pensieve_inference.testing import make_descriptor
from pensieve_registry._adapted import adapted
from pensieve_registry._names import NameTable

POET = LoraAdapter(name="poet", path=Path("poet.gguf"), size_bytes=1)
MODEL = attrs.evolve(make_descriptor("qwen3-8b"), adapters=(POET,))
OTHER = make_descriptor("smollm2")


def table(**aliases: str) -> NameTable:
    return NameTable([OTHER, MODEL], aliases=aliases, default=None)


@pytest.mark.parametrize(
    ("name", "model_id", "scale"),
    [
        ("qwen3-8b+poet", "qwen3-8b+poet", 1.0),
        ("QWEN3-8B+Poet:0.5", "qwen3-8b+poet:0.5", 0.5),
        ("anthropic-qwen3-8b+poet:1.0", "qwen3-8b+poet", 1.0),
        ("qwe+poet:-2", "qwen3-8b+poet:-2", -2.0),
    ],
)
def test_a_model_and_an_adapter_of_it_are_named_with_a_plus(name: str, model_id: str, scale: float) -> None:
    model = table().resolve(name)
    assert (model.id, model.path) == (model_id, MODEL.path)
    assert model.applied is not None
    assert (model.applied.adapter, model.applied.scale) == (POET, scale)
    assert table().resolve(model.id) == model


def test_an_alias_may_stand_for_both() -> None:
    names = table(bard="qwen3-8b+poet:0.25")
    assert names.resolve("bard").id == "qwen3-8b+poet:0.25"
    assert names.aliases["bard"] == "qwen3-8b+poet:0.25"


@pytest.mark.parametrize(
    "name", ["smollm2+poet", "qwen3-8b+nobody", "nobody+poet", "qwen3-8b+", "+poet", "qwen3-8b+poet:x"]
)
def test_what_is_no_pair_is_unknown(name: str) -> None:
    with pytest.raises(ModelNotFoundError):
        table().resolve(name)


def test_the_model_itself_is_served_without() -> None:
    assert table().resolve("qwen3-8b").applied is None


@given(name=st.text(alphabet="ab+:.-0123456789", max_size=20))
def test_any_name_means_a_model_with_an_adapter_of_its_own_or_nothing(name: str) -> None:
    def named(asked: str) -> ModelDescriptor | None:
        return attrs.evolve(MODEL, id=ModelId(asked), adapters=(attrs.evolve(POET, name="a"),))

    model = adapted(name, named)
    assert model is None or (model.applied is not None and name.startswith(f"{model.id.partition('+')[0]}+a"))


@pytest.mark.parametrize("default", ["qwen3-8b+poet:0.5", "bard"])
def test_a_model_with_an_adapter_can_be_the_default_and_is_listed_then(default: str) -> None:
    names = NameTable([OTHER, MODEL], aliases={"bard": "qwen3-8b+poet:0.5"}, default=default)
    assert [model.id for model in names.models] == ["qwen3-8b+poet:0.5", "smollm2", "qwen3-8b"]
    assert names.resolve("claude-opus-4-8") == names.resolve("default") == names.models[0]
