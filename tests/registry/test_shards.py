"""A split model is one model, whole or refused."""

from pathlib import Path

import attrs
import pytest

from pensieve_registry import GgufHeaderError, read_gguf_model
from pensieve_registry._format import ValueType
from pensieve_registry._shards import first_file, model_stem, shard_paths
from pensieve_registry.testing import GgufDraft, chat_model, key, tensor, write_chat_model


def write_shards(folder: Path, count: int, *, promised: int | None = None, same_tensor: bool = False) -> list[Path]:
    """Write as llama-gguf-split does: every shard says which it is; the first has the model's keys."""
    paths = [folder / f"big-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    for number, path in enumerate(paths):
        name = "t" if same_tensor else f"t{number}"
        draft = chat_model({"split.tensors.count": count if promised is None else promised}, shapes={name: (32, 4)})
        split = key("split.no", number, ValueType.UINT16), key("split.count", count, ValueType.UINT16)
        path.write_bytes(attrs.evolve(draft, keys=(*draft.keys, *split)).encode())
    return paths


def refusal(path: Path) -> str:
    with pytest.raises(GgufHeaderError) as caught:
        read_gguf_model(path)
    return caught.value.message


def test_a_single_file_is_a_model(tmp_path: Path) -> None:
    path = write_chat_model(tmp_path / "small.gguf")
    model = read_gguf_model(path)
    assert (model.path, model.paths, model.size_bytes) == (path, (path,), path.stat().st_size)
    assert len(model.tensors) == 2


def test_all_shards_together_are_a_model(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 3)
    model = read_gguf_model(paths[0])
    assert model.paths == tuple(paths)
    assert model.header.text("general.architecture") == "llama"
    assert [tensor.name for tensor in model.tensors] == ["t0", "t1", "t2"]
    assert model.size_bytes == sum(path.stat().st_size for path in paths)


def test_any_shard_leads_to_the_first(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 2)
    assert read_gguf_model(paths[1]).path == paths[0]
    assert [first_file(path) for path in paths] == [paths[0]] * 2
    assert first_file(tmp_path / "whole.gguf") == tmp_path / "whole.gguf"


def test_the_stem_names_the_model_not_the_shard() -> None:
    assert model_stem(Path("big-00002-of-00003.gguf")) == "big"
    assert model_stem(Path("Small.Q4_0.gguf")) == "Small.Q4_0"


def test_refuses_a_model_with_a_shard_missing(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 3)
    paths[1].unlink()
    assert refusal(paths[0]) == "shard 2 of 3 is missing: 'big-00002-of-00003.gguf'"


def test_refuses_shards_without_the_first(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 2)
    paths[0].unlink()
    assert refusal(paths[1]) == "shard 1 of 2 is missing: 'big-00001-of-00002.gguf'"


def test_refuses_a_number_beyond_the_count(tmp_path: Path) -> None:
    path = write_chat_model(tmp_path / "big-00004-of-00003.gguf")
    assert refusal(path) == "is named shard 4 of 3"


def test_names_the_shard_that_is_bad(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 2)
    paths[1].write_bytes(b"GGUX")
    assert refusal(paths[0]) == "shard 'big-00002-of-00002.gguf': is not a GGUF file: it starts with b'GGUX'"


def test_refuses_shards_in_the_wrong_order(tmp_path: Path) -> None:
    first, second = write_shards(tmp_path, 2)
    first.rename(tmp_path / "spare")
    second.rename(first)
    (tmp_path / "spare").rename(second)
    assert refusal(first).startswith("shard 'big-00001-of-00002.gguf': holds split.no and split.count (1, 2), but is")


def test_refuses_a_renamed_shard(tmp_path: Path) -> None:
    """llama.cpp finds the others by name, so it could not load this."""
    alone = write_shards(tmp_path, 2)[0].rename(tmp_path / "model.gguf")
    assert refusal(alone) == "is one of 2 shards, but is not named like '-00001-of-00002.gguf'"


def test_refuses_shards_with_fewer_tensors_than_promised(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 2, promised=7)
    assert refusal(paths[0]) == "key 'split.tensors.count': 7, but the shards hold 2 tensors"


def test_refuses_more_shards_than_any_model_has(tmp_path: Path) -> None:
    path = write_chat_model(tmp_path / "big-00001-of-00513.gguf")
    assert refusal(path) == "is named shard 1 of 513"
    assert shard_paths(path) == (path,)


def test_refuses_more_tensors_than_memory_should_hold(tmp_path: Path) -> None:
    """Ours: each header is bounded, and so must all of them be together."""
    for number in (1, 2, 3):
        tensors = tuple(tensor(f"{number}.{index}", (8,), offset=32 * index) for index in range(22_000))
        split = key("split.no", number - 1), key("split.count", 3)
        draft = GgufDraft(keys=split, tensors=tensors, data=bytes(32 * len(tensors)))
        path = tmp_path / f"big-0000{number}-of-00003.gguf"
        path.write_bytes(draft.encode())
    assert refusal(path) == ("shard 'big-00003-of-00003.gguf': is the one with which there are more than 65536 tensors")


def test_of_further_shards_only_the_split_is_kept(tmp_path: Path) -> None:
    """Ours: five hundred shards may each bring eight megabytes of text."""
    first, second = read_gguf_model(write_shards(tmp_path, 2)[0]).headers
    assert "general.architecture" in first.metadata
    assert set(second.metadata) == {"split.no", "split.count", "split.tensors.count"}


def test_refuses_the_same_tensor_in_two_shards(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 2, same_tensor=True)
    assert refusal(paths[0]) == "the shards hold a tensor of the same name"
