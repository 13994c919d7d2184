"""What the reader of a generation has been told: as long as that is no word, the request can begin again unnoticed.

Pure. Above: the generations that outlive their engine, whether it died (`worker.supervisor`) or made room (`leases`).
"""

from __future__ import annotations

import attrs

from pensieve_core import AnswerProgressed, GenerationEvent, GenerationFinished, PrefillProgressed

__all__ = ["Told"]


@attrs.define
class Told:
    """Mutable: `note` each event that is handed on."""

    answered: bool = False
    """There was a word of the answer, of its reasoning or of a call. Speed alone (`AnswerProgressed`) is none."""
    _prefilled_tokens: int = 0

    def repeats(self, event: GenerationEvent) -> bool:
        """Whether the reader knows `event` from before the request began again."""
        return isinstance(event, PrefillProgressed) and event.processed_tokens <= self._prefilled_tokens

    def note(self, event: GenerationEvent) -> None:
        """`event` is handed on to the reader."""
        match event:
            case PrefillProgressed(processed_tokens=processed):
                self._prefilled_tokens = processed
            case AnswerProgressed() | GenerationFinished():
                pass
            case _:
                self.answered = True
