"""Which quantisation is taken, from what publishers' files are called."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pensieve_registry import checked_file_name
from pensieve_registry.hub import (
    NoSuchQuantizationError,
    RemoteFile,
    RemoteRepository,
    choose,
    quantization_of,
)

GB = 10**9


def _repository(sizes: Mapping[str, float]) -> RemoteRepository:
    files = [
        RemoteFile(name=checked_file_name(name), size_bytes=int(size * GB), oid="0" * 64)
        for name, size in sorted(sizes.items())
    ]
    return RemoteRepository(repository="o/n", revision=None, commit="0" * 40, files=tuple(files))


ALL = _repository(
    {"m-Q2_K.gguf": 3, "m-Q3_K_M.gguf": 4, "m-Q4_0.gguf": 4.6, "m-Q4_K_M.gguf": 5, "m-Q5_K_M.gguf": 6}
    | {"m-Q6_K.gguf": 7, "m-Q8_0.gguf": 9, "m-BF16.gguf": 16}
)


@pytest.mark.parametrize(
    ("name", "quantization"),
    [
        ("Qwen3-8B-Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-coder-7b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("deepseek-coder-6.7b-instruct.Q4_K_M.gguf", "Q4_K_M"),
        ("Qwen3.6-35B-A3B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("UD-Q6_K/M-UD-Q6_K-00001-of-00004.gguf", "UD-Q6_K"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("M-IQ2_XXS.gguf", "IQ2_XXS"),
        ("M-f16.gguf", "F16"),
        ("M-BF16.gguf", "BF16"),
        ("Q8_0/model.gguf", "Q8_0"),
        ("plain.gguf", None),
    ],
)
def test_a_name_tells_its_quantisation(name: str, quantization: str | None) -> None:
    assert quantization_of(RemoteFile(name=checked_file_name(name), size_bytes=1, oid="0" * 64)) == quantization


@pytest.mark.parametrize(
    ("room_gb", "chosen"),
    [(3, "Q2_K"), (4.5, "Q3_K_M"), (4.8, "Q4_0"), (8, "Q4_K_M"), (12, "Q5_K_M"), (18, "Q6_K"), (1000, "Q6_K")],
)
def test_the_finest_that_leaves_room_is_taken_and_nothing_beyond_six_bits(room_gb: float, chosen: str) -> None:
    choice = choose(ALL, room=lambda: int(room_gb * GB))
    assert choice.variant.quantization == chosen
    assert f"of {room_gb:.1f} GB for weights" in choice.reason


def test_where_the_room_is_unknown_the_usual_one_is_taken() -> None:
    assert choose(ALL).variant.quantization == "Q4_K_M"
    assert "could not be found out" in choose(ALL, room=lambda: None).reason


def test_where_nothing_fits_the_choices_are_told() -> None:
    with pytest.raises(NoSuchQuantizationError, match=r"the smallest, Q2_K, takes 3.0 GB") as nothing:
        choose(ALL, room=lambda: GB)
    assert nothing.value.choices[0] == "Q2_K"


def test_a_wish_counts_however_large_it_is_and_with_or_without_unsloths_prefix() -> None:
    assert choose(ALL, quantization="BF16", room=lambda: 1).variant.size_bytes == 16 * GB
    unsloth = _repository({"m-UD-Q4_K_XL.gguf": 5, "m-Q8_0.gguf": 9})
    assert choose(unsloth, quantization="Q4_K_XL").variant.quantization == "UD-Q4_K_XL"


def test_a_wish_that_is_not_there_is_answered_with_those_that_resemble_it_first() -> None:
    with pytest.raises(NoSuchQuantizationError) as missing:
        choose(ALL, quantization="Q4_K_L")
    assert missing.value.choices[0] == "Q4_K_M"
    assert len(missing.value.choices) == 8


def test_several_models_of_one_quantisation_are_ambiguous() -> None:
    several = _repository({"a-Q4_K_M.gguf": 1, "b-Q4_K_M.gguf": 2})
    with pytest.raises(NoSuchQuantizationError, match=r"say the file, as in o/n:a-Q4_K_M\.gguf"):
        choose(several, room=lambda: 100 * GB)


def test_uncommon_quantisations_are_taken_when_there_are_no_others() -> None:
    rare = _repository({"m-F16.gguf": 5, "m-F32.gguf": 10})
    assert choose(rare, room=lambda: 6 * GB).variant.quantization == "F16"


def test_split_models_count_whole_and_those_with_gaps_not_at_all() -> None:
    split = _repository(
        {f"Q8_0/m-Q8_0-0000{i}-of-00003.gguf": 2 for i in (1, 2, 3)}
        | {f"m-Q4_0-0000{i}-of-00003.gguf": 1 for i in (1, 3)}
    )
    (variant,) = split.variants()
    assert (variant.quantization, variant.size_bytes, len(variant.files)) == ("Q8_0", 6 * GB, 3)
    assert choose(split, file=checked_file_name("m-Q8_0-00002-of-00003.gguf")).variant is not None
    with pytest.raises(NoSuchQuantizationError, match=r"no model file x\.gguf"):
        choose(split, file=checked_file_name("x.gguf"))


def test_what_helps_other_models_is_no_choice() -> None:
    aside = _repository(
        {"m-Q4_0.gguf": 1, "mmproj-F16.gguf": 1, "imatrix.gguf": 1, "mtp-m.gguf": 1, "m-lora-f16.gguf": 1}
    )
    assert [variant.quantization for variant in aside.variants()] == ["Q4_0"]


@pytest.mark.parametrize(
    ("projectors", "chosen"),
    [
        (["mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf"], "mmproj-F16.gguf"),
        (["mmproj-Q8_0.gguf", "mmproj-F32.gguf"], "mmproj-Q8_0.gguf"),
        (["Q4_0/mmproj-F32.gguf", "mmproj-F16.gguf"], "Q4_0/mmproj-F32.gguf"),
        (["elsewhere/mmproj-F16.gguf"], None),
        (["mmproj.gguf"], "mmproj.gguf"),
        ([], None),
    ],
)
def test_the_projector_is_the_nearest_and_best_at_sixteen_bits(projectors: list[str], chosen: str | None) -> None:
    repository = _repository({"Q4_0/m-Q4_0.gguf": 1, **dict.fromkeys(projectors, 0.1)})
    found = repository.projector(repository.variants()[0])
    assert (found and found.name) == chosen
