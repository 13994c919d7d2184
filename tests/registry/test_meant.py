"""Which models of a machine a reference means: as `pull` would fetch them."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from pensieve_core import ModelDescriptor, ModelNotFoundError
from pensieve_inference.testing import make_descriptor
from pensieve_registry import SeveralModelsError
from pensieve_registry._meant import meant_by
from pensieve_registry._names import NameTable

_CACHE = Path("/hub/models--Owner--Small-GGUF/snapshots/0123abc")


def _at(path: Path, model_id: str, quantization: str | None = None) -> ModelDescriptor:
    return attrs.evolve(make_descriptor(model_id), path=path, quantization=quantization)


Q4 = _at(_CACHE / "Small-Q4_K_M.gguf", "small-q4_k_m", "Q4_K_M")
Q8 = _at(_CACHE / "Small-Q8_0.gguf", "small-q8_0", "Q8_0")
_SHARDS = tuple(_CACHE / "UD-Q3_K_XL" / f"Small-UD-Q3_K_XL-0000{n}-of-00002.gguf" for n in (1, 2))
UD = attrs.evolve(_at(_SHARDS[0], "small-ud-q3_k_xl", "Q3_K_M"), shards=_SHARDS)
MUTE = _at(Path("/studio/models/Owner/Other/plain.gguf"), "plain", "Q5_0")
SUB = _at(Path("/studio/models/Owner/Sub/Q6_K/deep.gguf"), "deep", "Q6_K")
LOOSE = _at(Path("/home/me/models/Loose-Q2_K.gguf"), "loose-q2_k", "Q2_K")
FAR = _at(Path("/home/me/models/a/b/c/d/far.gguf"), "far", "Q2_K")
X = _at(Path("/home/me/models/x.gguf"), "x", "Q2_K")
MODELS = (Q4, Q8, UD, MUTE, SUB, LOOSE, FAR, X)


@pytest.mark.parametrize(
    ("reference", "models"),
    [
        ("Owner/Small-GGUF:Q8_0", [Q8]),
        ("owner/small-gguf:q4_k_m", [Q4]),
        ("Owner/Small-GGUF@main:Q8_0", [Q8]),
        ("Owner/Small-GGUF", [Q4, Q8, UD]),
        ("Owner/Small-GGUF:UD-Q3_K_XL", [UD]),
        ("Owner/Small-GGUF:Q3_K_XL", [UD]),  # as most people call it, and `pull` does
        ("Owner/Small-GGUF:Q3_K_M", []),  # its header says so, its name another thing
        ("Owner/Small-GGUF:Small-Q8_0.gguf", [Q8]),
        ("https://huggingface.co/Owner/Small-GGUF/blob/main/Small-Q4_K_M.gguf", [Q4]),
        ("Owner/Other:Q5_0", [MUTE]),  # its name says nothing, its header does
        ("small:Q8_0", [Q8]),
        ("Small-q:Q8_0", [Q8]),
        ("Owner/Small-GGUF:UD-Q3_K_XL/small-ud-q3_k_xl-00002-of-00002.gguf", [UD]),  # any shard stands for its model
        ("Owner/Sub", [SUB]),  # with a folder for each quantisation
        ("loo:Q2_K", [LOOSE]),
        ("lo:Q2_K", []),  # as short as no beginning of an id may be
        ("x:Q2_K", [X]),  # the whole id
        ("home/me", []),
        ("me/models", []),  # two folders on the way are no repository
        ("models/a", []),
        ("b/c", []),
        ("c/d", []),
        ("a/b", []),
        ("models--Owner--Small-GGUF/snapshots", []),
        ("snapshots/0123abc", []),
        ("small", []),  # a bare name is looked up by other rules
        ("./Small-Q8_0.gguf", []),
        ("wner/Small-GGUF", []),
        ("Owner/Small", []),
        ("no reference at all", []),
    ],
)
def test_a_reference_means(reference: str, models: list[ModelDescriptor]) -> None:
    assert meant_by(reference, MODELS) == models


def _table() -> NameTable:
    return NameTable(MODELS, aliases={"mine": "Owner/Small-GGUF:Q8_0"}, default="owner/small-gguf:q4_k_m")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("Owner/Small-GGUF:Q8_0", Q8),
        (" Owner/Small-GGUF:Small-Q8_0.gguf[1m]", Q8),
        ("mine", Q8),
        ("claude-opus-4-8", Q4),
    ],
)
def test_a_reference_can_stand_wherever_a_name_can(name: str, model: ModelDescriptor) -> None:
    assert _table().resolve(name) == model


def test_a_reference_to_several_names_them() -> None:
    with pytest.raises(SeveralModelsError, match=r"Owner/Small-GGUF means several: small-q4_k_m, small-q8_0, small-ud"):
        _table().resolve("Owner/Small-GGUF")


def test_a_reference_to_what_is_not_here_is_a_name_that_nobody_knows() -> None:
    with pytest.raises(ModelNotFoundError, match=r"Owner/Small-GGUF:Q5_K_M \(available") as missing:
        _table().resolve("Owner/Small-GGUF:Q5_K_M")
    assert not isinstance(missing.value, SeveralModelsError)
