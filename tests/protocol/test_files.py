"""Files as the SDKs speak of them (`types/beta/file_*.py`); names and expiry by Anthropic's page on the Files API."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import FileId, StoredFile
from pensieve_protocol import (
    FileListQuery,
    RequestError,
    file_metadata_page,
    media_type_of,
    parse_expiry,
    parse_file_list_query,
    parse_filename,
)


def stored(number: int) -> StoredFile:
    return StoredFile(
        id=FileId(f"file_{number}"),
        filename="a.txt",
        media_type="text/plain",
        size_bytes=1,
        sha256="0" * 64,
        created_at=0,
        expires_at=3_600 if number else None,
    )


@pytest.mark.parametrize("sent", ["3600", "7776000", "0003600"])
def test_an_hour_and_ninety_days_are_the_bounds_of_expiry(sent: str) -> None:
    assert parse_expiry(sent) == int(sent)


@pytest.mark.parametrize("sent", ["3599", "7776001", "", "-3600", "3600.0", "\u0663600", "00003600", "9" * 5_000])
def test_any_other_expiry_is_refused_with_its_bounds(sent: str) -> None:
    with pytest.raises(RequestError, match=r"expires_in_seconds: must be from 3600 to 7776000, got '.{0,20}'$"):
        parse_expiry(sent)


def test_without_expiry_a_file_stays() -> None:
    assert parse_expiry(None) is None


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("a.txt", "a.txt"),
        ("/etc/passwd", "passwd"),
        (r"C:\notes\a.txt", "a.txt"),
        (" a.txt ", "a.txt"),
        ("x" * 255, "x" * 255),
        ("", "unnamed.txt"),
        ("..", "unnamed.txt"),
        ("notes/", "unnamed.txt"),
    ],
)
def test_a_name_is_the_last_part_of_what_was_sent(sent: str, name: str) -> None:
    assert parse_filename(sent, "text/plain") == name


@pytest.mark.parametrize(
    "sent", ["x" * 256, "a<b", "a>b", "a:b", 'a"b', "a|b", "a?b", "a*b", "a\0b", "a\x1fb", "a\x7fb"]
)
def test_a_name_that_no_file_can_have_is_refused(sent: str) -> None:
    with pytest.raises(RequestError, match="its name must have 1 to 255 characters"):
        parse_filename(sent, "text/plain")


@given(st.text())
def test_whatever_is_sent_no_name_leads_out_of_a_folder(sent: str) -> None:
    try:
        name = parse_filename(sent, "text/plain")
    except RequestError:
        return
    assert 1 <= len(name) <= 255
    assert not {"/", "\\", "\0"} & set(name)
    assert name not in (".", "..")


@pytest.mark.parametrize(
    ("sent", "name", "kind"),
    [
        ("Text/Markdown; charset=utf-8", "a.txt", "text/markdown"),
        ("application/octet-stream", "a.txt", "text/plain"),
        ("nonsense", "a.txt", "text/plain"),
        ("", "a.nobody-knows", "application/octet-stream"),
        (f"a/{'b' * 128}", "a.txt", "text/plain"),
    ],
)
def test_a_media_type_is_the_clients_or_that_of_the_name(sent: str, name: str, kind: str) -> None:
    assert media_type_of(sent, name) == kind


def test_a_page_tells_how_to_go_on() -> None:
    files = [stored(0), stored(1)]
    page = file_metadata_page(files, FileListQuery(), has_more=True)
    assert (page.first_id, page.last_id, page.next_page) == ("file_0", "file_1", "page_file_1")
    assert [file.expires_at for file in page.data] == [None, "1970-01-01T01:00:00Z"]
    following = parse_file_list_query([("page", "page_file_1"), ("limit", "7")])
    assert (following.after_id, following.limit) == ("file_1", 7)
    assert file_metadata_page(files, FileListQuery(), has_more=False).next_page is None
    assert file_metadata_page([], FileListQuery(), has_more=False).first_id is None


def test_who_goes_back_can_go_on_again() -> None:
    """`has_more` is meant in the direction that was asked for: forwards there is always the page that one came from."""
    page = file_metadata_page([stored(1)], FileListQuery(before_id="file_9"), has_more=False)
    assert page.next_page == "page_file_1"


def test_files_are_asked_for_by_their_ids() -> None:
    asked = [("ids", "file_1"), ("ids[]", "file_2"), ("ids", "file_1"), ("unknown", "x")]
    query = parse_file_list_query(asked)
    assert query.ids == ("file_1", "file_2")
    assert file_metadata_page([stored(1)], query, has_more=True).next_page is None
    assert parse_file_list_query([("ids", str(number)) for number in range(100)]).ids[99] == "99"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ([("ids", str(number)) for number in range(101)], "ids: at most 100 can be asked for, got 101"),
        ([("ids", "a"), ("limit", "5")], "ids: cannot be combined with limit"),
        ([("ids", "a"), ("after_id", "b")], "ids: cannot be combined with after_id"),
        ([("page", "nonsense")], "page: expected the next_page of an earlier answer"),
        ([("page", "page_a"), ("before_id", "b")], "page: expected the next_page of an earlier answer"),
        ([("limit", "0")], "limit"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_place(query: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        parse_file_list_query(query)
