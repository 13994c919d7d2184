"""The catalog: from files in folders to models by name."""

import os
from collections.abc import Iterable
from pathlib import Path

import attrs
import pytest

from pensieve_core import ModelId, ModelNotFoundError
from pensieve_inference import ModelCatalog
from pensieve_inference.testing.contract import CATALOG_CHECKS, CatalogCheck, check_name
from pensieve_registry import (
    FileSource,
    FolderSource,
    InstalledDistributionSource,
    LocalCatalog,
    ModelProblem,
    ValueType,
)
from pensieve_registry.testing import chat_model, key, write_chat_model

TOOLS = {"tokenizer.chat_template": "{{ tools }}"}


class CountingSource:
    """Counts how often it is asked."""

    name = "counting"

    def __init__(self, *paths: Path) -> None:
        self.paths = paths
        self.asked = 0

    def find(self) -> Iterable[Path]:
        self.asked += 1
        return self.paths


def aged(path: Path, created_at: int) -> Path:
    os.utime(path, (created_at, created_at))
    return path


def ids(catalog: LocalCatalog) -> list[str]:
    return [model.id for model in catalog.models()]


@pytest.fixture
def two_models(tmp_path: Path) -> LocalCatalog:
    for name in ("ada", "bob"):
        write_chat_model(tmp_path / f"{name}.gguf")
    return LocalCatalog([FolderSource(tmp_path)], aliases={"claude-haiku-4-5": "bob"})


@pytest.mark.parametrize("check", CATALOG_CHECKS, ids=check_name)
def test_keeps_the_catalog_contract(check: CatalogCheck, two_models: LocalCatalog) -> None:
    assert isinstance(two_models, ModelCatalog)
    check(two_models)


def test_scans_at_the_first_question_and_when_told(tmp_path: Path) -> None:
    source = CountingSource(write_chat_model(tmp_path / "a.gguf"))
    catalog = LocalCatalog([source])
    assert source.asked == 0
    assert ids(catalog) == ["a"]
    assert catalog.resolve("a").source == "counting"
    assert source.asked == 1
    source.paths += (write_chat_model(tmp_path / "b.gguf"),)
    assert ids(catalog) == ["a"]
    catalog.scan()
    assert ids(catalog) == ["a", "b"]
    assert source.asked == 2


def test_a_name_that_nobody_knows_is_looked_for_once_more_but_not_all_the_time(tmp_path: Path) -> None:
    """So a model that was fetched while the server runs is found as soon as somebody asks for it."""
    now = 0.0
    source = CountingSource(write_chat_model(tmp_path / "a.gguf"))
    catalog = LocalCatalog([source], clock=lambda: now)
    assert ids(catalog) == ["a"]
    source.paths += (write_chat_model(tmp_path / "b.gguf"),)
    with pytest.raises(ModelNotFoundError):
        catalog.resolve("b")
    assert source.asked == 1
    now = 2.0
    assert catalog.resolve("b").id == "b"
    now = 3.9
    with pytest.raises(ModelNotFoundError) as missing:
        catalog.resolve("c")
    assert missing.value.known == ("a", "b")
    assert source.asked == 2
    now = 4.0
    with pytest.raises(ModelNotFoundError):
        catalog.resolve("c")
    assert source.asked == 3


def test_a_better_model_that_comes_later_does_not_become_the_default_under_a_session(tmp_path: Path) -> None:
    write_chat_model(tmp_path / "small.gguf")
    catalog = LocalCatalog([FolderSource(tmp_path)])
    assert ids(catalog) == ["small"]
    write_chat_model(tmp_path / "best.gguf", TOOLS)
    catalog.scan()
    assert ids(catalog) == ["small", "best"]
    (tmp_path / "small.gguf").unlink()
    catalog.scan()
    assert ids(catalog) == ["best"]


def test_a_broken_file_hides_no_good_one_and_is_reported(tmp_path: Path) -> None:
    write_chat_model(tmp_path / "good.gguf")
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"<html>404</html>")
    told: list[ModelProblem] = []
    catalog = LocalCatalog([FolderSource(tmp_path)], on_refused=told.append)
    assert ids(catalog) == ["good"]
    (problem,) = catalog.problems
    assert (problem.path, problem.source) == (bad, "models folder")
    assert problem.reason == "is not a GGUF file: it starts with b'<htm'"
    assert told == [problem]
    catalog.scan()
    assert told == [problem, problem]


def test_a_given_file_that_is_missing_is_reported(tmp_path: Path) -> None:
    (problem,) = LocalCatalog([FileSource(tmp_path / "typo.gguf")]).problems
    assert problem.reason == "cannot be read: No such file or directory"


def test_a_model_without_its_context_length_is_reported(tmp_path: Path) -> None:
    write_chat_model(tmp_path / "m.gguf", {"general.architecture": "other"})
    (problem,) = LocalCatalog([FolderSource(tmp_path)]).problems
    assert problem.reason == "key 'other.context_length' is missing"


def test_what_is_no_chat_model_is_left_out_with_its_reason(tmp_path: Path) -> None:
    write_chat_model(tmp_path / "mmproj.gguf", {"general.type": "mmproj"})
    catalog = LocalCatalog([FolderSource(tmp_path)])
    assert (catalog.models(), catalog.problems) == ((), ())
    (left_out,) = catalog.left_out
    assert (left_out.path.name, left_out.reason[:11]) == ("mmproj.gguf", "a projector")


def test_a_split_model_with_a_hole_is_one_problem(tmp_path: Path) -> None:
    for number in (2, 3):
        write_chat_model(tmp_path / f"big-0000{number}-of-00003.gguf")
    (problem,) = LocalCatalog([FolderSource(tmp_path)]).problems
    assert problem.reason == "shard 1 of 3 is missing: 'big-00001-of-00003.gguf'"


def test_a_split_model_names_all_its_files(tmp_path: Path) -> None:
    for number in (1, 2):
        split = key("split.no", number - 1, ValueType.UINT16), key("split.count", 2, ValueType.UINT16)
        draft = chat_model(shapes={f"t{number}": (32, 1)})
        draft = attrs.evolve(draft, keys=(*draft.keys, *split))
        (tmp_path / f"big-0000{number}-of-00002.gguf").write_bytes(draft.encode())
    write_chat_model(tmp_path / "whole.gguf")
    models = {model.id: model for model in LocalCatalog([FolderSource(tmp_path)]).models()}
    assert [path.name for path in models[ModelId("big")].shards] == [
        "big-00001-of-00002.gguf",
        "big-00002-of-00002.gguf",
    ]
    assert models[ModelId("whole")].shards == ()


def test_one_file_reached_twice_is_one_model_of_the_first_source(tmp_path: Path) -> None:
    real = write_chat_model(tmp_path / "cache" / "m.gguf")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.gguf").symlink_to(real)
    sources = [FolderSource(tmp_path / "models"), FolderSource(tmp_path / "cache", name="cache")]
    assert [(model.id, model.source) for model in LocalCatalog(sources).models()] == [("mine", "models folder")]


def test_an_earlier_source_is_preferred_whatever_is_in_it(tmp_path: Path) -> None:
    write_chat_model(tmp_path / "mine" / "small.gguf")
    write_chat_model(tmp_path / "packages" / "large.gguf", TOOLS, shapes={"t": (64, 64)})
    catalog = LocalCatalog([FolderSource(tmp_path / "none"), FolderSource(tmp_path / "mine"), FolderSource(tmp_path)])
    assert ids(catalog) == ["small", "large"]
    assert catalog.resolve("claude-opus-4-8").id == "small"


def test_within_a_source_tools_then_size_are_preferred(tmp_path: Path) -> None:
    write_chat_model(tmp_path / "large.gguf", shapes={"t": (64, 64)})
    write_chat_model(tmp_path / "tools-small.gguf", TOOLS, shapes={"t": (32, 1)})
    write_chat_model(tmp_path / "tools-large.gguf", TOOLS, shapes={"t": (32, 2)})
    assert ids(LocalCatalog([FolderSource(tmp_path)])) == ["tools-large", "tools-small", "large"]


def test_a_model_that_does_not_fit_into_memory_comes_last(tmp_path: Path) -> None:
    write_chat_model(tmp_path / "huge.gguf", TOOLS, shapes={"t": (64, 64)})
    write_chat_model(tmp_path / "fits.gguf", shapes={"t": (32, 1)})
    assert ids(LocalCatalog([FolderSource(tmp_path)])) == ["huge", "fits"]
    assert ids(LocalCatalog([FolderSource(tmp_path)], memory_bytes=8_000)) == ["fits", "huge"]


def test_the_default_that_was_asked_for_comes_first(two_models: LocalCatalog, tmp_path: Path) -> None:
    catalog = LocalCatalog([FolderSource(tmp_path)], default="bob")
    assert ids(two_models) == ["ada", "bob"]
    assert ids(catalog) == ["bob", "ada"]
    assert catalog.resolve("default").id == "bob"


def test_files_of_one_name_get_different_ids_and_the_older_keeps_its_own(tmp_path: Path) -> None:
    aged(write_chat_model(tmp_path / "a" / "m.gguf"), 2_000)
    aged(write_chat_model(tmp_path / "b" / "m.gguf"), 1_000)
    aged(write_chat_model(tmp_path / "c" / "M.gguf"), 3_000)
    models = LocalCatalog([FolderSource(tmp_path)]).models()
    assert {model.path.parent.name: model.id for model in models} == {"b": "m", "a": "m-2", "c": "m-3"}


def test_an_id_of_an_earlier_source_is_not_taken_away(tmp_path: Path) -> None:
    aged(write_chat_model(tmp_path / "cache" / "m.gguf"), 1_000)
    aged(write_chat_model(tmp_path / "models" / "m.gguf"), 2_000)
    sources = [FolderSource(tmp_path / "models"), FolderSource(tmp_path / "cache")]
    assert [(model.id, model.path.parent.name) for model in LocalCatalog(sources).models()] == [
        ("m", "models"),
        ("m-2", "cache"),
    ]


def test_without_any_model_every_name_is_refused_with_a_reason() -> None:
    with pytest.raises(ModelNotFoundError, match=r"^model: claude-opus-4-8 \(no model is installed\)$"):
        LocalCatalog([]).resolve("claude-opus-4-8")


@pytest.mark.model
def test_the_starter_model_answers_for_claude_in_a_fresh_clone() -> None:
    model = LocalCatalog([InstalledDistributionSource()]).resolve("claude-opus-4-8")
    assert (model.id, model.architecture, model.quantization) == ("smollm2-135m-instruct.q4_1", "llama", "Q4_1")
    assert (model.parameters, model.context_tokens, model.size_bytes) == (134_515_008, 8192, 98_362_432)
    assert not model.capabilities.tool_template
