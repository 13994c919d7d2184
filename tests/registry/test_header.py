"""The header reader: what it lets pass is true, and what it refuses is named."""

import contextlib
import os
import struct
import time
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pensieve_registry import GgufArray, GgufHeaderError, LongText, ValueType, read_gguf_header
from pensieve_registry.testing import GgufDraft, chat_model, key, string, tensor, write_chat_model

SOUND = chat_model()
PATIENCE_S = 5.0


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(GgufHeaderError) as caught:
        read_gguf_header(path)
    return caught.value.message


def test_reads_what_the_file_says(tmp_path: Path) -> None:
    path = write_chat_model(
        tmp_path / "m.gguf",
        {"general.name": "Ada", "llama.rope.freq_base": 0.5, "tokenizer.ggml.add_bos_token": True, "tags": ["a", "b"]},
        shapes={"token_embd.weight": (64, 4)},
    )
    header = read_gguf_header(path)
    assert header.version == 3
    assert header.text("general.name") == "Ada"
    assert header.integer("llama.context_length") == 2048
    assert header.metadata["llama.rope.freq_base"] == 0.5
    assert header.metadata["tokenizer.ggml.add_bos_token"] is True
    assert header.metadata["tags"] == GgufArray(item_type=ValueType.STRING, count=2)
    (only,) = header.tensors
    assert (only.name, only.shape, only.type.name, only.weights, only.size_bytes) == (
        "token_embd.weight",
        (64, 4),
        "F32",
        256,
        1024,
    )
    assert header.data_offset % header.alignment == 0
    assert header.file_bytes == path.stat().st_size
    assert header.modified_at == int(path.stat().st_mtime)


def test_answers_none_for_keys_of_another_type(tmp_path: Path) -> None:
    header = read_gguf_header(write_chat_model(tmp_path / "m.gguf", {"a": "text", "b": True}))
    assert header.integer("a") is None
    assert header.integer("b") is None, "a boolean is no integer"
    assert header.text("llama.context_length") is None
    assert header.text("missing") is None


def test_measures_arrays_of_numbers_without_keeping_them(tmp_path: Path) -> None:
    types = string("types") + struct.pack("<IIQ3i", ValueType.ARRAY, ValueType.INT32, 3, 1, 2, 3)
    (tmp_path / "m.gguf").write_bytes(attrs.evolve(SOUND, keys=(types, *SOUND.keys)).encode())
    header = read_gguf_header(tmp_path / "m.gguf")
    assert header.metadata["types"] == GgufArray(item_type=ValueType.INT32, count=3)


def test_measures_a_text_that_is_too_long_to_keep(tmp_path: Path) -> None:
    header = read_gguf_header(write_chat_model(tmp_path / "m.gguf", {"tokenizer.huggingface.json": "x" * 2_000_000}))
    assert header.metadata["tokenizer.huggingface.json"] == LongText(size_bytes=2_000_000)


def test_text_that_is_not_utf8_is_replaced_not_refused(tmp_path: Path) -> None:
    """Ours: an author's name in Latin-1 is no danger to anybody."""
    name = string("general.author") + struct.pack("<I", ValueType.STRING) + string(b"Andr\xe9")
    (tmp_path / "m.gguf").write_bytes(attrs.evolve(SOUND, keys=(name, *SOUND.keys)).encode())
    assert read_gguf_header(tmp_path / "m.gguf").text("general.author") == "Andr\ufffd"


def test_honours_another_alignment(tmp_path: Path) -> None:
    draft = chat_model({"general.alignment": 64})
    (tmp_path / "m.gguf").write_bytes(attrs.evolve(draft, alignment=64).encode())
    header = read_gguf_header(tmp_path / "m.gguf")
    assert (header.alignment, header.data_offset % 64) == (64, 0)


def _tensors(*pieces: bytes, data: bytes = bytes(64)) -> GgufDraft:
    return attrs.evolve(SOUND, tensors=pieces, data=data)


def _keys(*pieces: bytes) -> GgufDraft:
    return attrs.evolve(SOUND, keys=pieces)


MALFORMED: dict[str, tuple[GgufDraft, str]] = {
    "empty name of another format": (
        attrs.evolve(SOUND, magic=b"PK\x03\x04"),
        r"is not a GGUF file: it starts with b'PK\x03\x04'",
    ),
    "version 1": (attrs.evolve(SOUND, version=1), "has GGUF version 1; versions 2 and 3 are known"),
    "version 0": (attrs.evolve(SOUND, version=0), "has GGUF version 0; versions 2 and 3 are known"),
    "big endian": (
        attrs.evolve(SOUND, version=3 << 24),
        "is a big-endian GGUF file; this machine needs the little-endian one",
    ),
    "too many tensors": (
        attrs.evolve(SOUND, tensor_count=2**63),
        "claims 9223372036854775808 tensors, more than 32768",
    ),
    "too many keys": (attrs.evolve(SOUND, key_count=16_385), "claims 16385 metadata keys, more than 16384"),
    "key twice": (_keys(key("a", 1), key("a", 2)), "key 'a': appears twice"),
    "key too long": (_keys(string("k" * 65_536)), "key 0: has a name of 65536 bytes; 1 to 65535 are possible"),
    "key not UTF-8": (_keys(string(b"\xff")), "key 0: has a name that is not UTF-8"),
    "key with NUL": (
        _keys(key("a", 1), key("a\0b", 1)),
        r"key 1: has a name with control characters: 'a\x00b'",
    ),
    "unknown value type": (
        _keys(string("a") + struct.pack("<I", 13)),
        "key 'a': has the unknown value type 13",
    ),
    "boolean of 2": (_keys(key("a", 2, ValueType.BOOL)), "key 'a': is a boolean of value 2"),
    "array of arrays": (
        _keys(string("a") + struct.pack("<IIQ", ValueType.ARRAY, ValueType.ARRAY, 1)),
        "key 'a': is an array of arrays, which llama.cpp cannot read",
    ),
    "array of unknown things": (
        _keys(string("a") + struct.pack("<IIQ", ValueType.ARRAY, 77, 1)),
        "key 'a': has the unknown value type 77",
    ),
    "alignment of 0": (
        chat_model({"general.alignment": 0}),
        "key 'general.alignment': 0 is no power of two up to 1048576",
    ),
    "alignment of 24": (
        chat_model({"general.alignment": 24}),
        "key 'general.alignment': 24 is no power of two up to 1048576",
    ),
    "alignment of 2 GiB": (
        chat_model({"general.alignment": 2**31}),
        "key 'general.alignment': 2147483648 is no power of two up to 1048576",
    ),
    "alignment in words": (
        chat_model({"general.alignment": "much"}),
        "key 'general.alignment': is of the type STRING, not UINT32",
    ),
    "alignment of another width": (
        _keys(key("general.alignment", 32, ValueType.UINT64)),
        "key 'general.alignment': is of the type UINT64, not UINT32",
    ),
    "tensor twice": (
        _tensors(tensor("t", (8,)), tensor("t", (8,))),
        "tensor 't': appears twice",
    ),
    "key without a name": (_keys(key("", 1)), "key 0: has a name of 0 bytes; 1 to 65535 are possible"),
    "tensor's name too long": (
        _tensors(tensor("t" * 65, (8,))),
        "tensor 0: has a name of 65 bytes; 1 to 64 are possible",
    ),
    "no dimensions": (_tensors(tensor("t", ())), "tensor 't': has 0 dimensions; 1 to 4 are possible"),
    "five dimensions": (
        _tensors(tensor("t", (1, 1, 1, 1, 1))),
        "tensor 't': has 5 dimensions; 1 to 4 are possible",
    ),
    "empty dimension": (
        _tensors(tensor("t", (8, 0))),
        "tensor 't': has an empty dimension: 8x0",
    ),
    "dimensions that overflow": (
        _tensors(tensor("t", (2**32, 2**31))),
        "tensor 't': overflows with the dimensions 4294967296x2147483648",
    ),
    "dimensions whose product wraps to something small": (
        _tensors(tensor("t", (2**33, 2**33))),
        "tensor 't': overflows with the dimensions 8589934592x8589934592",
    ),
    "retired type": (_tensors(tensor("t", (32,), kind=4)), "tensor 't': has the unknown type 4"),
    "type from nowhere": (_tensors(tensor("t", (32,), kind=2**32 - 1)), "tensor 't': has the unknown type 4294967295"),
    "half a block": (
        _tensors(tensor("t", (300,), kind=12)),
        "tensor 't': has rows of 300 weights, no multiple of Q4_K's 256",
    ),
    "overlapping tensors": (
        _tensors(tensor("a", (16,)), tensor("b", (8,), offset=32), data=bytes(128)),
        "tensor 'b': starts at 32, and not at 64, behind the one before it",
    ),
    "tensors in each other's place": (
        _tensors(tensor("a", (8,), offset=32), tensor("b", (8,)), data=bytes(128)),
        "tensor 'a': starts at 32, and not at 0, behind the one before it",
    ),
    "gap between tensors": (
        _tensors(tensor("a", (8,)), tensor("b", (8,), offset=64), data=bytes(128)),
        "tensor 'b': starts at 64, and not at 32, behind the one before it",
    ),
    "offset off the grid": (
        _tensors(tensor("t", (8,), offset=8)),
        "tensor 't': starts at 8, no multiple of the alignment 32",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_refuses_and_names_the_place(tmp_path: Path, name: str) -> None:
    draft, message = MALFORMED[name]
    assert refusal(tmp_path / "bad.gguf", draft.encode()) == message


def test_refuses_a_tensor_that_ends_behind_the_file(tmp_path: Path) -> None:
    """CVE-2026-7482 (ollama): a tensor declared larger than its file made C read the heap and send it out."""
    content = _tensors(tensor("blk.0.attn_q.weight", (1_000_000,))).encode()
    end = len(content) - 64 + 4_000_000
    expected = f"tensor 'blk.0.attn_q.weight': ends at {end} beyond the file's {len(content)} bytes"
    assert refusal(tmp_path / "bad.gguf", content) == expected


def test_refuses_an_offset_near_the_end_of_64_bits(tmp_path: Path) -> None:
    """CVE-2026-27940 (llama.cpp): offset plus size wrapped around, after a first fix had missed it."""
    message = refusal(tmp_path / "bad.gguf", _tensors(tensor("t", (8,), offset=2**64 - 32)).encode())
    assert message.startswith("tensor 't': ends at 18446744073709")


def test_refuses_a_value_cut_off_by_the_end_of_the_file(tmp_path: Path) -> None:
    content = _keys(key("general.name", "a long name that is cut")).encode()
    message = refusal(tmp_path / "cut.gguf", content[:70])
    assert message == "key 'general.name': ends at 79 beyond the file's 70 bytes"


def test_refuses_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(GgufHeaderError, match=r"^cannot be read: No such file or directory$"):
        read_gguf_header(tmp_path / "none.gguf")


def test_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(GgufHeaderError, match=r"^is not a regular file$"):
        read_gguf_header(tmp_path)


@pytest.mark.timeout(10)
def test_does_not_wait_for_a_named_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(GgufHeaderError, match=r"^is not a regular file$"):
        read_gguf_header(tmp_path / "pipe.gguf")


def test_an_empty_file_is_cut_off(tmp_path: Path) -> None:
    assert refusal(tmp_path / "empty.gguf", b"") == "ends at 4 beyond the file's 0 bytes"


def test_the_error_keeps_the_path_to_the_fault_as_data(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(_keys(key("a", 2, ValueType.BOOL)).encode())
    with pytest.raises(GgufHeaderError) as caught:
        read_gguf_header(tmp_path / "bad.gguf")
    assert (caught.value.places, caught.value.reason) == (("key 'a'",), "is a boolean of value 2")


def _vocabulary(path: Path, *tokens: str) -> str | None:
    return read_gguf_header(write_chat_model(path, {"tokenizer.ggml.tokens": tokens})).vocabulary


def test_knows_a_vocabulary_again_whatever_it_is_padded_with(tmp_path: Path) -> None:
    """Qwen2.5 comes with 151,936 tokens up to 3B and with 152,064 from 7B on: the same ones, and more padding."""
    small = _vocabulary(tmp_path / "a.gguf", "a", "b", "[PAD2]", "[PAD3]")
    assert small == _vocabulary(tmp_path / "b.gguf", "a", "b")
    assert small == _vocabulary(tmp_path / "b.gguf", "a", "b", *(f"[PAD{n}]" for n in range(2, 800)))
    others = {_vocabulary(tmp_path / "c.gguf", *tokens) for tokens in ("ab[PAD2]c", ["ab"], ["b", "a"])}
    assert None not in others
    assert len({small, *others}) == 4


def test_a_file_without_tokens_has_no_vocabulary(tmp_path: Path) -> None:
    assert read_gguf_header(write_chat_model(tmp_path / "m.gguf")).vocabulary is None
    assert read_gguf_header(write_chat_model(tmp_path / "m.gguf", {"tokenizer.ggml.tokens": "x"})).vocabulary is None


def _read_quickly(path: Path, content: bytes) -> None:
    """Read a file that may be anything: a header or a GgufHeaderError, and soon."""
    path.write_bytes(content)
    started = time.monotonic()
    with contextlib.suppress(GgufHeaderError):
        header = read_gguf_header(path)
        assert all(header.data_offset + tensor.offset + tensor.size_bytes <= len(content) for tensor in header.tensors)
    assert time.monotonic() - started < PATIENCE_S


RICH = chat_model(
    {"general.name": "Ada", "tags": ["en", "de"], "flag": True, "ratio": 0.5},
    shapes={"a": (32, 2), "b": (32,), "c": (64, 2, 2)},
).encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
@given(cut=st.integers(0, len(RICH)), patches=st.lists(st.tuples(st.integers(0, len(RICH) - 1), st.binary(max_size=9))))
def test_any_damage_gives_a_header_or_a_refusal(tmp_path: Path, cut: int, patches: list[tuple[int, bytes]]) -> None:
    content = bytearray(RICH)
    for place, patch in patches:
        content[place : place + len(patch)] = patch
    _read_quickly(tmp_path / "damaged.gguf", bytes(content[: len(content) - cut]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
@given(
    place=st.integers(0, len(RICH) - 8),
    number=st.sampled_from([2**n + d for n in (0, 8, 16, 31, 32, 63) for d in (-1, 0)]),
)
def test_no_count_or_length_can_make_it_run_on(tmp_path: Path, place: int, number: int) -> None:
    content = bytearray(RICH)
    struct.pack_into("<Q", content, place, number)
    _read_quickly(tmp_path / "damaged.gguf", bytes(content))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=300))
def test_noise_behind_a_sound_beginning_gives_a_header_or_a_refusal(tmp_path: Path, noise: bytes) -> None:
    _read_quickly(tmp_path / "noise.gguf", RICH[:24] + noise)
