"""The program that reads one PDF: bytes on stdin, JSON on stdout. Run by path, so that nothing of Pensieve is imported.

Whatever a PDF does to it (loops, recursion, memory), it does to a process of its own, with limits that the system
holds. Above: `_pdf_process` starts it, and takes any other end than JSON for a PDF that is not valid.

    python _pdf_text.py MAX_PAGES MAX_SECONDS
"""

from __future__ import annotations

import io
import json
import resource
import sys
from collections.abc import Iterator

import pypdf
from pypdf.errors import DependencyError, PyPdfError

__all__ = ["Refused", "pdf_text"]

MAX_CHARACTERS = 8 << 20
"""Of text; no context holds more than a small part of it."""
_MAX_MEMORY_BYTES = 1 << 30

# Anthropic's words, by which Claude Code 2.1.330 knows what is wrong.
NOT_VALID = "The PDF specified was not valid"
PROTECTED = "The PDF specified is password protected"


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """There is no text to be had; the message says why."""


def pdf_text(pdf: bytes, *, max_pages: int) -> str:
    """Return the text of all pages, each under its number.

    Raises:
        Refused: it is encrypted, broken, or too long.
    """
    try:
        reader = pypdf.PdfReader(io.BytesIO(pdf))
        _decrypt(reader)
        pages = len(reader.pages)
        if pages > max_pages:
            raise Refused(f"A maximum of {max_pages} PDF pages may be provided, got {pages}")
        return "\n\n".join(_within_bounds(_page_texts(reader)))
    except PyPdfError as error:
        raise Refused(f"{NOT_VALID}: {error}") from error


def _decrypt(reader: pypdf.PdfReader) -> None:
    """Open what is encrypted without a password, as documents are that only restrict printing."""
    try:
        is_open = not reader.is_encrypted or bool(reader.decrypt(""))
    except DependencyError:
        is_open = False
    if not is_open:
        raise Refused(PROTECTED)


def _page_texts(reader: pypdf.PdfReader) -> Iterator[str]:
    for number, page in enumerate(reader.pages, start=1):
        text = page.extract_text().strip()
        yield f"[Page {number}]\n{text or '(no text: perhaps a scan or a picture)'}"


def _within_bounds(texts: Iterator[str]) -> Iterator[str]:
    characters = 0
    for text in texts:
        characters += len(text)
        if characters > MAX_CHARACTERS:
            raise Refused(f"Could not process PDF: it holds more than {MAX_CHARACTERS} characters of text")
        yield text


def main(max_pages: str, max_seconds: str) -> None:
    """Read a PDF from stdin; write `{"text": …}` or `{"refused": …}` to stdout."""
    for kind, limit in (
        (resource.RLIMIT_AS, _MAX_MEMORY_BYTES),
        (resource.RLIMIT_CPU, int(max_seconds)),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    try:
        outcome = {"text": pdf_text(sys.stdin.buffer.read(), max_pages=int(max_pages))}
    except Refused as refused:
        outcome = {"refused": str(refused)}
    sys.stdout.write(json.dumps(outcome))


if __name__ == "__main__":
    main(*sys.argv[1:])
