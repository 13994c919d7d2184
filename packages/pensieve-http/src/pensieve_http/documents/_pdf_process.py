"""Runs the program that reads a PDF, and ends it when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from subprocess import DEVNULL, PIPE

import orjson

from pensieve_http.documents._documents import UnreadablePdfError

__all__ = ["PdfProcess", "pdf_process"]

_PROGRAM = Path(__file__).with_name("_pdf_text.py")
_AT_ONCE = 2
"""Processes; each may take a core and a gigabyte."""


class PdfProcess:
    """`PdfTexts` by pypdf in a process of its own, without our environment.

    Args:
        max_pages: Longer documents are refused.
        max_cpu_s: Seconds of a processor that one document may take; whole ones.
        program: What is run; to be replaced in tests of its ends.
    """

    def __init__(self, *, max_pages: int, max_cpu_s: int, program: Path = _PROGRAM) -> None:
        self._command = (sys.executable, "-I", str(program), str(max_pages), str(max_cpu_s))
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def text(self, pdf: bytes) -> str:
        """Return the text of `pdf`. Cancelling it ends the process.

        Raises:
            UnreadablePdfError: it is encrypted, broken or too long.
        """
        async with self._places:
            return _outcome(await self._output(pdf))

    async def _output(self, pdf: bytes) -> bytes:
        process = await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={})
        try:
            output, _ = await process.communicate(pdf)
            return output
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()  # also closes its pipes


def _outcome(output: bytes) -> str:
    try:
        match orjson.loads(output):
            case {"text": str(text)}:
                return text
            case {"refused": str(reason)}:
                raise UnreadablePdfError(reason)
            case _:
                pass
    except orjson.JSONDecodeError:
        pass  # a crash, or a limit that the system held
    msg = "The PDF specified was not valid: reading it failed"
    raise UnreadablePdfError(msg)


def pdf_process(*, max_pages: int, max_cpu_s: int) -> PdfProcess | None:
    """Return what reads PDFs; None when pypdf is not installed (the extra `pdf`), or no pages are allowed."""
    if not max_pages or importlib.util.find_spec("pypdf") is None:
        return None
    return PdfProcess(max_pages=max_pages, max_cpu_s=max_cpu_s)
