"""The form of an upload: whatever the cut, the same file comes out; what is no such form is a 400."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_http.upload_form import UploadForm
from pensieve_inference import NewFile
from pensieve_protocol import RequestError

TYPE = "multipart/form-data; boundary=xyz"


def part(headers: str, data: bytes) -> bytes:
    return b"--xyz\r\n" + headers.encode() + b"\r\n\r\n" + data + b"\r\n"


def a_file(data: bytes = b"x", *, name: str = 'filename="a.txt"', media_type: str = "text/plain") -> bytes:
    content_type = f"\r\nContent-Type: {media_type}" if media_type else ""
    return part(f'Content-Disposition: form-data; name="file"; {name}{content_type}', data)


def field(name: str, value: bytes) -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"', value)


END = b"--xyz--\r\n"


def read(body: bytes, *, content_type: str = TYPE, cut: int = 1 << 20) -> tuple[bytes, NewFile]:
    form = UploadForm(content_type)
    data = b"".join(form.feed(body[start : start + cut]) for start in range(0, len(body), cut))
    return data, form.finish()


@given(st.binary(max_size=300), st.integers(1, 400))
def test_any_cut_gives_the_same_file(data: bytes, cut: int) -> None:
    if b"--xyz" in data:
        return
    body = field("purpose", b"test") + a_file(data) + field("expires_in_seconds", b"3600") + END
    assert read(body, cut=cut) == (data, NewFile(filename="a.txt", media_type="text/plain", expires_in_s=3_600))


@given(st.binary(max_size=400))
def test_whatever_comes_is_a_file_or_a_400(body: bytes) -> None:
    status = 200
    try:
        read(body)
    except RequestError as error:
        status = error.error.status
    assert status in (200, 400)


@pytest.mark.parametrize(
    ("name", "media_type", "expected"),
    [
        ('filename="a.pdf"', "application/pdf", ("a.pdf", "application/pdf")),
        ('filename="a.pdf"', "", ("a.pdf", "application/pdf")),
        ('filename="a.pdf"', "application/octet-stream", ("a.pdf", "application/pdf")),
        ('filename="a.b\xe9"', "application/x-a; charset=b", ("a.b\xe9", "application/x-a")),
        ('filename="/etc/passwd"', "nonsense", ("passwd", "application/octet-stream")),
        ('filename="..\\\\..\\\\boot.ini"', "text/plain", ("boot.ini", "text/plain")),
        ('filename=""', "application/pdf", ("unnamed.pdf", "application/pdf")),
        ('filename=".."', "", ("unnamed.bin", "application/octet-stream")),
        ("x=y", "image/png", ("unnamed.png", "image/png")),
    ],
)
def test_name_and_type_are_what_can_be_known(name: str, media_type: str, expected: tuple[str, str]) -> None:
    """The SDK's `file_upload_params.py`: only the final path component is kept; `unnamed` plus an extension."""
    _, new = read(a_file(name=name, media_type=media_type) + END)
    assert (new.filename, new.media_type, new.expires_in_s) == (*expected, None)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (END, "file: field required"),
        (field("file2", b"x") + END, "file: field required"),
        (a_file() + a_file() + END, "file: only one can be uploaded at a time"),
        (a_file(), "the form ends before its last boundary"),
        (b"", "the form ends before its last boundary"),
        (b"nonsense", "the form is malformed"),
        (a_file() + field("expires_in_seconds", b"60") + END, "expires_in_seconds: must be from 3600 to 7776000"),
        (a_file() + field("expires_in_seconds", b"\xff\xb2") + END, "expires_in_seconds: must be from 3600"),
        (a_file() + field("expires_in_seconds", b"9" * 5_000) + END, "a field of the form exceeds 4096 bytes"),
        (a_file() + 17 * field("a", b"b") + END, "more than 16 parts"),
        (a_file(name='filename="' + "a" * 256 + '"') + END, "file: its name must have 1 to 255 characters"),
        (a_file(name='filename="a%22b"') + END, "file: its name must have"),
        (a_file(name='filename="' + "a" * 5_000 + '"') + END, "the form is malformed"),
        (a_file(media_type="a/b" + "\r\nx: y" * 20) + END, "the form is malformed"),
    ],
)
def test_what_is_wrong_is_said(body: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message) as raised:
        read(body)
    assert raised.value.error.status == 400


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data", "text/plain; boundary=x"])
def test_another_body_is_refused(content_type: str) -> None:
    with pytest.raises(RequestError, match="content-type: expected multipart/form-data with a boundary"):
        UploadForm(content_type)
