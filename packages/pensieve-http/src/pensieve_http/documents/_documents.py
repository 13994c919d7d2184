"""Puts the text of its documents into a request, and remembers it: a conversation sends a PDF with every turn."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import NoReturn, Protocol, TypeVar

from pensieve_core import Clock
from pensieve_http.race import race
from pensieve_protocol import CountTokensRequest, PendingSource, TextSource, pending_sources, with_sources

__all__ = ["Documents", "PdfTexts", "UnreadablePdfError"]

_Wire = TypeVar("_Wire", bound=CountTokensRequest)

_REMEMBERED_CHARACTERS = 16 << 20
NOT_READ = (
    "this server does not support PDF input; install pensieve-http[pdf] where it runs, or send the document as text"
)
"""The first words are known to Claude Code 2.1.330, which then goes on without the document."""


class UnreadablePdfError(Exception):
    """A PDF of which no text can be had. `reason` is written for the client, in Anthropic's words where it has some."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PdfTexts(Protocol):
    """Extracts text from PDFs. Real: `PdfProcess`."""

    async def text(self, pdf: bytes) -> str:
        """Return the text of `pdf`, the same for the same bytes.

        Raises:
            UnreadablePdfError: there is none to be had.
        """
        ...


class Documents:
    """Reads the documents of requests.

    Args:
        pdfs: Who reads PDFs. None: nobody does.
        clock: For the deadline.
        timeout_s: For all documents of one request together; what was read by then is remembered.
    """

    def __init__(self, pdfs: PdfTexts | None, clock: Clock, *, timeout_s: float) -> None:
        self._pdfs = pdfs
        self._clock = clock
        self._timeout_s = timeout_s
        self._known: OrderedDict[bytes, str] = OrderedDict()
        """Texts by the sha256 of their PDF; the last used ones are last."""

    @property
    def reads_pdfs(self) -> bool:
        """Whether a request may bring PDFs."""
        return self._pdfs is not None

    async def read(self, wire: _Wire) -> _Wire:
        """Return `wire` with the text of its PDFs in their place.

        Raises:
            RequestError: 400; one of them cannot be read, or not in time.
        """
        deadline = self._clock.monotonic() + self._timeout_s
        texts = {pending.path: await self._text(pending, deadline) for pending in pending_sources(wire)}
        return with_sources(wire, texts)

    async def _text(self, pending: PendingSource, deadline: float) -> TextSource:
        if self._pdfs is None:
            raise pending.refusal(NOT_READ)
        pdf = pending.source.data
        key = hashlib.sha256(pdf).digest()
        try:
            if key not in self._known:
                self._remember(key, await race(self._pdfs.text(pdf), self._run_out(deadline)))
        except UnreadablePdfError as error:
            raise pending.refusal(error.reason) from None
        self._known.move_to_end(key)
        return TextSource(type="text", data=self._known[key])

    async def _run_out(self, deadline: float) -> NoReturn:
        await self._clock.sleep(max(0.0, deadline - self._clock.monotonic()))
        raise UnreadablePdfError(f"Could not process PDF: reading took more than {self._timeout_s:g} s")

    def _remember(self, key: bytes, text: str) -> None:
        """Keep `text`; forget what was used longest ago, but never the newest."""
        self._known[key] = text
        while len(self._known) > 1 and sum(map(len, self._known.values())) > _REMEMBERED_CHARACTERS:
            self._known.popitem(last=False)
