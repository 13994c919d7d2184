"""Ids told by file names, against those that the catalog gives."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pensieve_registry import FolderSource, Found, FoundFile, LocalCatalog, Unreadable, ids_by_file_name
from pensieve_registry.testing import write_chat_model


class _Told:
    name = "told"

    def __init__(self, *found: Found) -> None:
        self._found = found

    def find(self) -> Iterable[Found]:
        return self._found


def test_a_model_is_called_as_in_the_catalog(tmp_path: Path) -> None:
    write_chat_model(tmp_path / "b" / "Tiny Model_Q8.gguf")
    write_chat_model(tmp_path / "other.GGUF")
    source = FolderSource(tmp_path)
    assert ids_by_file_name([source]) == tuple(sorted(model.id for model in LocalCatalog([source]).models()))


def test_headers_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "torn.gguf").write_bytes(b"")
    assert ids_by_file_name([FolderSource(tmp_path)]) == ("torn",)


def test_a_split_model_is_named_once_and_a_projector_not_at_all() -> None:
    shards = [Path(f"large-0000{number}-of-00002.gguf") for number in (1, 2)]
    assert ids_by_file_name([_Told(*shards), _Told(Path("mmproj-large-F16.gguf"))]) == ("large",)


def test_a_source_may_know_the_name_better_and_what_cannot_be_read_has_none() -> None:
    blob = FoundFile(path=Path("sha256-00"), name="qwen:1.5b")
    nothing = Unreadable(path=Path("/closed"), reason="cannot be read")
    assert ids_by_file_name([_Told(blob, nothing, FoundFile(path=Path("a.gguf")))]) == ("a", "qwen-1.5b")
