"""Two filters between sampled tokens and the output parser: bytes to text, and stop sequences.

Pure machines; the engine feeds them token by token. They know nothing of tools or templates.
"""

from __future__ import annotations

import codecs

__all__ = ["StopSequences", "Utf8Decoder"]


class Utf8Decoder:
    """Bytes in, text out, on character boundaries. Bytes that are no UTF-8 become U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes) -> str:
        """Return the characters that `data` completes; the start of a further one is kept."""
        return self._decoder.decode(data)

    @property
    def empty(self) -> bool:
        """No start of a character is kept."""
        return not self._decoder.getstate()[0]

    def finish(self) -> str:
        """Return U+FFFD for a character that never became whole."""
        return self._decoder.decode(b"", final=True)


class StopSequences:
    """Finds the stop sequence that is completed first, and holds back what may be the start of one.

    Args:
        stops: The sequences; empty ones are ignored. Of several that end at the same character, the longest hits.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self._hit: str | None = None

    def feed(self, text: str) -> tuple[str, str | None]:
        """Return the text that may go out, and the stop sequence that was hit, if any. After a hit: nothing more."""
        if self._hit is not None:
            return "", self._hit
        text = self._held + text
        ends = [(text.index(stop) + len(stop), -len(stop), stop) for stop in self._stops if stop in text]
        if ends:
            end, _, self._hit = min(ends)
            self._held = ""
            return text[: end - len(self._hit)], self._hit
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], None

    @property
    def empty(self) -> bool:
        """Nothing is held back."""
        return not self._held

    def finish(self) -> str:
        """Return what was held back: no more text will come."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a proper beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
