"""What goes when a model goes, and what never does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.model_commands.removal import plan_removal, remove

_CACHE, _FOLDER = "Hugging Face cache", "models folder"


def _snapshot(repository: Path, revision: str, name: str, content: bytes) -> Path:
    """Put a file into the cache as huggingface_hub does."""
    blob = repository / "blobs" / content.hex()
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link = repository / "snapshots" / revision / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(revision)
    return link


def _remove(files: list[Path], source: str, models_folder: Path) -> int:
    removal = plan_removal("m", files, source=source, models_folder=models_folder)
    remove(removal)
    return removal.freed_bytes


def test_a_file_of_the_models_folder_goes_and_its_neighbours_stay(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / name).write_bytes(bytes(5))
    assert _remove([tmp_path / "deep" / "a.gguf"], _FOLDER, tmp_path) == 5
    assert [path.name for path in tmp_path.rglob("*.gguf")] == ["b.gguf"]


def test_a_link_in_the_models_folder_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "mine.gguf").write_bytes(bytes(5))
    (tmp_path / "models" / "m.gguf").symlink_to(tmp_path / "mine.gguf")
    assert _remove([tmp_path / "models" / "m.gguf"], _FOLDER, tmp_path / "models") == 0
    assert (tmp_path / "mine.gguf").exists()
    assert list((tmp_path / "models").iterdir()) == []


def test_a_folder_that_is_linked_into_the_models_folder_is_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "m.gguf").touch()
    (tmp_path / "models" / "linked").symlink_to(tmp_path / "theirs")
    with pytest.raises(CommandError, match="outside the models folder") as refused:
        _remove([tmp_path / "models" / "linked" / "m.gguf"], _FOLDER, tmp_path / "models")
    assert refused.value.exit_code is ExitCode.REFUSED
    assert (tmp_path / "theirs" / "m.gguf").exists()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("LM Studio", "My Models"),
        ("Ollama", "ollama rm"),
        ("installed package", "uninstall"),
        ("given file", "yourself"),
    ],
)
def test_files_of_others_are_refused_with_a_word_on_how_they_are_removed(
    source: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "m.gguf").touch()
    with pytest.raises(CommandError, match=told) as refused:
        _remove([tmp_path / "m.gguf"], source, tmp_path / "models")
    assert refused.value.exit_code is ExitCode.REFUSED


def test_files_of_another_program_stay_even_where_they_lie_in_the_models_folder(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").touch()
    with pytest.raises(CommandError, match="LM Studio's"):
        _remove([tmp_path / "m.gguf"], "LM Studio", tmp_path)


def test_a_repository_without_any_other_file_goes_as_a_whole(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--o--n"
    link = _snapshot(repository, "abc", "deep/m.gguf", b"12345")
    assert _remove([link], _CACHE, tmp_path / "models") == 5
    assert list(repository.parent.iterdir()) == []


def test_other_files_of_a_repository_stay(tmp_path: Path) -> None:
    repository = tmp_path / "models--o--n"
    link, other = (_snapshot(repository, "abc", f"{name}.gguf", name.encode()) for name in ("first", "other"))
    assert _remove([link], _CACHE, tmp_path / "models") == len("first")
    assert other.read_bytes() == b"other"
    assert [path.name for path in (repository / "blobs").iterdir()] == [b"other".hex()]
    assert (repository / "refs" / "main").exists()


def test_a_file_goes_from_all_revisions_for_else_it_would_not_be_gone(tmp_path: Path) -> None:
    repository = tmp_path / "models--o--n"
    link, _ = (_snapshot(repository, revision, "m.gguf", b"same") for revision in ("abc", "def"))
    assert _remove([link], _CACHE, tmp_path / "models") == 4
    assert not repository.exists()


def test_a_blob_that_another_file_uses_stays(tmp_path: Path) -> None:
    repository = tmp_path / "models--o--n"
    link, other = (_snapshot(repository, "abc", name, b"same") for name in ("m.gguf", "renamed.gguf"))
    assert _remove([link], _CACHE, tmp_path / "models") == 0
    assert not link.is_symlink()
    assert other.read_bytes() == b"same"


def test_a_newer_revision_of_a_file_stays(tmp_path: Path) -> None:
    """Its name is the same and its content is not."""
    repository = tmp_path / "models--o--n"
    link, newer = (_snapshot(repository, text, "m.gguf", text.encode()) for text in ("old", "new"))
    _remove([link], _CACHE, tmp_path / "models")
    assert newer.read_bytes() == b"new"


def test_a_cache_without_links_holds_the_files_themselves(tmp_path: Path) -> None:
    """So huggingface_hub does on systems that have none."""
    file = tmp_path / "models--o--n" / "snapshots" / "abc" / "m.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(5))
    assert _remove([file], _CACHE, tmp_path / "models") == 5
    assert not file.exists()


def test_a_link_out_of_the_cache_takes_nothing_with_it(tmp_path: Path) -> None:
    (tmp_path / "thesis.gguf").write_text("years of work")
    repository = tmp_path / "models--o--n"
    link = _snapshot(repository, "abc", "other.gguf", b"x").with_name("m.gguf")
    link.symlink_to(tmp_path / "thesis.gguf")
    assert _remove([link], _CACHE, tmp_path / "models") == 0
    assert (tmp_path / "thesis.gguf").exists()


_FILES = st.dictionaries(
    st.tuples(st.sampled_from("rs"), st.sampled_from(["a.gguf", "b.gguf", "d/c.gguf"])),
    st.sampled_from([b"1", b"22", b"333"]),
    min_size=1,
)


@given(files=_FILES, data=st.data())
def test_whatever_a_cache_holds_only_what_was_named_goes(
    files: dict[tuple[str, str], bytes], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    repository = tmp_path_factory.mktemp("cache") / "models--o--n"
    links = {key: _snapshot(repository, *key, content) for key, content in files.items()}
    revision, name = data.draw(st.sampled_from(sorted(links)))
    _remove([links[revision, name]], _CACHE, repository.parent / "models")
    gone = {key for key, content in files.items() if key[1] == name and content == files[revision, name]}
    for key, link in links.items():
        assert link.is_symlink() is (key not in gone)
        assert key in gone or link.read_bytes() == files[key]
    left = {content.hex() for key, content in files.items() if key not in gone}
    assert {path.name for path in (repository / "blobs").glob("*")} == left


def test_what_the_system_does_not_allow_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").mkdir()
    removal = plan_removal("m", [tmp_path / "m.gguf"], source=_FOLDER, models_folder=tmp_path)
    with pytest.raises(CommandError, match="could not be removed") as failed:
        remove(removal)
    assert failed.value.exit_code is ExitCode.FAILURE
