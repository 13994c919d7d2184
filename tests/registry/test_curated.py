"""The curated catalog: typed, true to its README, and what it recommends for which machine."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from pensieve_core import ModelNotFoundError
from pensieve_registry import (
    CatalogError,
    CuratedModel,
    Machine,
    NameRef,
    curated_model,
    load_curated,
    parse_curated,
    recommend,
)

MODELS = Path(__file__).parents[2] / "models"
ENTRIES = load_curated()
GB = 10**9


def test_the_repositorys_file_is_the_packages() -> None:
    assert parse_curated((MODELS / "catalog.toml").read_text(encoding="utf-8")) == ENTRIES


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_entry_agrees_with_itself(entry: CuratedModel) -> None:
    assert entry.quantization.lower() in entry.file.lower()
    assert entry.active_b <= entry.parameters_b
    assert entry.size_bytes < entry.memory_gb * GB
    assert 0.4 < entry.size_bytes / (entry.parameters_b * GB) < 1.1  # three to nine bits a weight
    assert (entry.revision is None) is (entry.sha256 is None)
    assert re.fullmatch(r"[A-Z].*\.", entry.note)


def test_names_are_unique_and_sorted_by_size() -> None:
    sizes = [entry.size_bytes for entry in ENTRIES]
    assert sizes == sorted(sizes)


def test_the_models_that_everybody_asks_for_are_there_with_their_hashes() -> None:
    named = {entry.name: entry for entry in ENTRIES}
    assert {"deepseek-coder-6.7b", "mistral-7b-instruct"} < set(named)
    assert [entry.name for entry in ENTRIES if entry.sha256 is None] == ["smollm2-135m"]


def test_the_readme_names_every_entry() -> None:
    readme = (MODELS / "README.md").read_text(encoding="utf-8")
    assert [entry.name for entry in ENTRIES if f"`{entry.name}`" not in readme] == []


@pytest.mark.parametrize(
    ("memory_gb", "gpu_gb", "name"),
    [
        (8.2, 0, "qwen3.5-4b"),
        (16.5, 0, "qwen3.5-9b"),
        (25, 0, "gpt-oss-20b"),
        (50, 0, "qwen3.6-35b"),
        (100, 0, "gpt-oss-120b"),
        (16, 8.5, "qwen3.5-9b"),
        (16, 4, "qwen3.5-9b"),
        (32, 17, "gpt-oss-20b"),
        (32, 25.7, "qwen3-coder-30b"),
        (128, 67, "qwen3-coder-next"),
        (128, 85, "gpt-oss-120b"),
    ],
)
def test_a_machine_is_recommended_the_largest_that_it_holds(memory_gb: float, gpu_gb: float, name: str) -> None:
    machine = Machine(memory_bytes=int(memory_gb * GB), gpu="A GPU", gpu_bytes=int(gpu_gb * GB))
    recommended = recommend(machine, ENTRIES)
    assert recommended.model.name == name
    assert name in recommended.reason
    assert ("A GPU" in recommended.reason) is (gpu_gb >= 6)


def test_dense_models_are_not_recommended_where_only_a_cpu_would_read_them() -> None:
    dense = attrs.evolve(ENTRIES[-1], active_b=100.0, name="dense")
    machine = Machine(memory_bytes=200 * GB)
    assert recommend(machine, [*ENTRIES, dense]).model.name == "gpt-oss-120b"
    assert recommend(attrs.evolve(machine, gpu="A GPU", gpu_bytes=200 * GB), [dense]).model is dense


@pytest.mark.parametrize(("memory_bytes", "words"), [(1 * GB, "no model fits"), (None, "could not be found out")])
def test_where_nothing_fits_the_smallest_is_recommended_and_that_is_said(memory_bytes: int | None, words: str) -> None:
    recommended = recommend(Machine(memory_bytes=memory_bytes), ENTRIES)
    assert recommended.model.name == "qwen2.5-coder-1.5b"
    assert words in recommended.reason


def test_a_name_finds_its_entry_and_a_wrong_one_those_that_resemble_it() -> None:
    assert curated_model(NameRef(name="GPT-OSS-20b"), ENTRIES).name == "gpt-oss-20b"
    with pytest.raises(ModelNotFoundError) as missing:
        curated_model(NameRef(name="qwen3.5-8b"), ENTRIES)
    assert missing.value.known[0].startswith("qwen3.5")


VALID = (
    '[[model]]\nname = "a"\nrepository = "o/n"\nfile = "a-Q4_0.gguf"\nquantization = "Q4_0"\nsize_bytes = 1\n'
    'parameters_b = 1.0\nactive_b = 1\ncontext_tokens = 1\ntools = "none"\nlicence = "MIT"\nmemory_gb = 1.0\n'
    'note = "N."\n'
)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (VALID.replace("size_bytes = 1", 'size_bytes = "1"'), "expected int, not '1' @ $.model[0].size_bytes"),
        (VALID.replace("size_bytes = 1", "size_bytes = 0"), "'size_bytes' must be > 0: 0 @ $.model[0]"),
        (VALID.replace("1.0", "true"), "expected a number, not True @ $.model[0].parameters_b"),
        (VALID.replace('"none"', '"telepathy"'), "$.model[0].tools"),
        (VALID.replace("note", "notes"), "$.model[0].note"),
        (VALID + "colour = 1\n", "colour"),
        (VALID + 'revision = "main"\n', "revision has 40 hexadecimal digits @ $.model[0]"),
        (VALID + 'sha256 = "abc"\n', "sha256 has 64 hexadecimal digits @ $.model[0]"),
        (VALID.replace("a-Q4_0.gguf", "../a.gguf"), "file: "),
        (VALID.replace('"o/n"', '"o/n:Q4_0"'), "repository: "),
        (VALID.replace('"a"', '"a/b"'), "name: "),
        (VALID + VALID, "twice"),
        ("[[model", "catalog.toml"),
    ],
)
def test_a_wrong_catalog_is_refused_with_the_path_to_the_fault(text: str, fault: str) -> None:
    with pytest.raises(CatalogError) as refused:
        parse_curated(text)
    assert fault in refused.value.message


def test_a_right_one_is_read() -> None:
    assert [model.ref.file for model in parse_curated(VALID)] == ["a-Q4_0.gguf"]
