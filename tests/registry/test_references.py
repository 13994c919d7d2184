"""One typed reference to a model, and the names of files that may reach this disk."""

from __future__ import annotations

import string
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_registry import (
    HubFile,
    HubRef,
    InvalidReferenceError,
    ModelRef,
    NameRef,
    PathRef,
    UnsafeFileNameError,
    checked_file_name,
    file_named,
    parse_ref,
)

QWEN = HubRef(owner="Qwen", name="Qwen3-8B-GGUF")
PINNED = HubRef(owner="Qwen", name="Qwen3-8B-GGUF", revision="7c41481f")
FILE = HubRef(owner="Qwen", name="Qwen3-8B-GGUF", file=HubFile("a/b-Q4_0.gguf"))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Qwen/Qwen3-8B-GGUF", QWEN),
        ("hf.co/Qwen/Qwen3-8B-GGUF", QWEN),
        ("https://huggingface.co/Qwen/Qwen3-8B-GGUF/", QWEN),
        ("HTTPS://HuggingFace.co/Qwen/Qwen3-8B-GGUF?library=llama.cpp#files", QWEN),
        ("hf://Qwen/Qwen3-8B-GGUF@7c41481f", PINNED),
        ("https://huggingface.co/Qwen/Qwen3-8B-GGUF/tree/7c41481f", PINNED),
        ("Qwen/Qwen3-8B-GGUF:a/b-Q4_0.gguf", FILE),
        ("Qwen/Qwen3-8B-GGUF:q4_k_m", HubRef(owner="Qwen", name="Qwen3-8B-GGUF", quantization="Q4_K_M")),
        ("Qwen/x@main:UD-Q4_K_XL", HubRef(owner="Qwen", name="x", revision="main", quantization="UD-Q4_K_XL")),
        (
            "https://huggingface.co/Qwen/x/blob/main/dir/a%20b.gguf?download=true",
            HubRef(owner="Qwen", name="x", revision="main", file=HubFile("dir/a b.gguf")),
        ),
        ("hf.co/owner/Old.gguf", HubRef(owner="owner", name="Old.gguf")),
        ("model.GGUF", PathRef(path=Path("model.GGUF"))),
        ("models/model.gguf", PathRef(path=Path("models/model.gguf"))),
        ("./models/folder", PathRef(path=Path("models/folder"))),
        ("/a/b", PathRef(path=Path("/a/b"))),
        ("../x", PathRef(path=Path("../x"))),
        ("~/x", PathRef(path=Path("~/x"))),
        (".", PathRef(path=Path())),
        ("C:\\models\\x.gguf", PathRef(path=Path("C:\\models\\x.gguf"))),
        ("a/b/c:d.gguf", PathRef(path=Path("a/b/c:d.gguf"))),
        ("qwen2.5-coder-7b", NameRef(name="qwen2.5-coder-7b")),
        ("qwen3-8b:q8_0", NameRef(name="qwen3-8b", quantization="Q8_0")),
    ],
)
def test_a_reference_means_what_its_form_says(text: str, meant: ModelRef) -> None:
    assert parse_ref(text) == meant


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" qwen", "blanks"),
        ("x" * 600, "too long"),
        ("a\x00b", "control"),
        ("a\nb/c", "control"),
        ("Qwen/\u202eGGUF", "control"),
        ("a/b/c", "OWNER/NAME"),
        ("a/../c", "OWNER/NAME"),
        ("a/b--c", "OWNER/NAME"),
        ("a/b..c", "OWNER/NAME"),
        ("a/-b", "OWNER/NAME"),
        ("a/b.", "OWNER/NAME"),
        (f"a/{'b' * 97}", "OWNER/NAME"),
        ("a/", "OWNER/NAME"),
        ("hf.co/datasets/a/b", "OWNER/NAME"),
        ("a/b@x..y", "no revision"),
        ("a/b@..", "no revision"),
        ("https://huggingface.co/a/b/tree/%2e%2e", "no revision"),
        ("a/b@refs/pr/1", "no revision"),
        ("a/b:Q4 K", "no quantisation"),
        ("a/b:../../x", "no quantisation"),
        ("a/b:../x.gguf", "'..'"),
        ("https://huggingface.co/a/b/resolve/main/%2e%2e/x.gguf", "'..'"),
        ("na me", "letters"),
        ("-flag", "letters"),
    ],
)
def test_what_has_no_form_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidReferenceError) as refused:
        parse_ref(text)
    assert reason in refused.value.reason


@pytest.mark.parametrize(
    "name",
    [
        "model.gguf",
        "Q4_K_M/model-00001-of-00002.gguf",
        "a b (1)+[x]~.gguf",
        "模型.gguf",
    ],
)
def test_names_that_publishers_use_pass(name: str) -> None:
    assert checked_file_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../x.gguf",
        "a/../x.gguf",
        "a/./x.gguf",
        "a//x.gguf",
        "a/",
        "..\\x.gguf",
        "C:x.gguf",
        "a\x00.gguf",
        "a\n.gguf",
        "a\x7f.gguf",
        "a\u202egguf.exe",
        "\ud800.gguf",
        ".bashrc",
        "~/x.gguf",
        "a./x.gguf",
        "x.gguf ",
        "aux?.gguf",
        "x" * 256,
        "a/" * 8 + "x.gguf",
        "é" * 300,
        "/".join(["x" * 200] * 3),
    ],
)
def test_a_file_name_that_could_leave_its_folder_or_cheat_the_eye_is_refused(name: str) -> None:
    """Ours, after the path traversals in other servers' pulls (design 5)."""
    with pytest.raises(UnsafeFileNameError):
        checked_file_name(name)


_PIECES = st.sampled_from(["..", ".", "/", "\\", "a", "b", "~", ":", "\x00", " ", "C:", ".gguf", "\u202e", "é"])


@given(st.lists(_PIECES, max_size=12).map("".join))
def test_what_passes_stays_below_its_folder_on_every_system(name: str) -> None:
    try:
        checked = checked_file_name(name)
    except UnsafeFileNameError:
        return
    for flavour in (PurePosixPath, PureWindowsPath):
        path = flavour("/root/snapshot") / checked
        assert path.parts[:3] == flavour("/root/snapshot").parts
        assert not {"..", ".", ""}.intersection(path.parts[3:])


@pytest.mark.parametrize(
    ("text", "is_file"),
    [
        ("model.gguf", True),
        ("~/here/Model.GGUF", True),
        ("a\x00b.gguf", True),  # no reference at all, and no file either: reading it says so
        ("Qwen/Qwen3-8B-GGUF:Qwen3-8B-Q8_0.gguf", False),
        ("./folder", False),
        ("qwen3-8b", False),
    ],
)
def test_a_file_of_this_machine_is_told_from_one_of_the_hub(text: str, *, is_file: bool) -> None:
    assert file_named(text) == (Path(text) if is_file else None)


_FORMS = ["hf.co/", "a/b", "@main", ":Q4_0", ":c/d", ".gguf", "./", "x"]
_TEXTS = st.text(st.sampled_from(string.ascii_letters + string.digits + "/.:@~-_%\\ "), max_size=24)


@given(st.one_of(_TEXTS, st.lists(st.sampled_from(_FORMS)).map("".join)))
def test_a_reference_reads_back_as_itself(text: str) -> None:
    try:
        reference = parse_ref(text)
    except InvalidReferenceError:
        return
    assert parse_ref(str(reference)) == reference
