"""The model's own answers on the disk, so that after a restart they are repeated token for token, as before it.

Rendered anew, a tool call is other tokens than those that were sampled, and what is kept of a conversation would be of
use up to its first call only. An answer takes a kilobyte or two. Above: the engine. Below: `pensieve_gguf.anchors`.
"""

from __future__ import annotations

from array import array
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import cattrs
import orjson
import structlog
from cattrs.preconf.orjson import make_converter

from pensieve_core import ToolCallId
from pensieve_gguf.anchors import Journal
from pensieve_gguf.engine.own_turns import Gist, Opening, OwnTurn, OwnTurns

__all__ = ["TurnJournal", "decode_turn", "encode_turn"]

_log = structlog.get_logger(__name__)

_MOST_BYTES = 8 << 20

_converter = make_converter()


@attrs.frozen(kw_only=True)
class _Record:
    """An `OwnTurn` in the types that JSON has."""

    words: str
    tokens: list[int]
    opening: Opening
    gist: Gist
    arguments: dict[ToolCallId, str]


class TurnJournal:
    """Notes answers in a thread of its own.

    Args:
        journal: Closed by `close`.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="answers")

    @classmethod
    def open(cls, folder: Path, model: str) -> TurnJournal | None:
        """Open the answers of one model, in any words that always stand for it. None: the folder cannot be used."""
        journal = Journal.open(folder, f"answers-{model}", most_bytes=_MOST_BYTES)
        return None if journal is None else cls(journal)

    def note(self, turn: OwnTurn) -> None:
        """Keep `turn`, when there is time."""
        self._writer.submit(self._append, turn)

    def recall_into(self, own_turns: OwnTurns) -> None:
        """Let `own_turns` know all that are kept."""
        turns = [turn for record in self._journal.records() if (turn := decode_turn(record)) is not None]
        for turn in turns:
            own_turns.put(turn)

    def close(self) -> None:
        """Keep what is not kept yet."""
        self._writer.shutdown()
        self._journal.close()

    def _append(self, turn: OwnTurn) -> None:
        try:
            record = encode_turn(turn)
        except TypeError as error:  # what is no Unicode is no JSON
            _log.warning("answer_not_kept", reason=str(error))
        else:
            self._journal.append(record)


def encode_turn(turn: OwnTurn) -> bytes:
    """Return `turn` as one line of JSON.

    Raises:
        TypeError: it holds what JSON does not.
    """
    record = _Record(
        words=turn.words, tokens=turn.tokens.tolist(), opening=turn.opening, gist=turn.gist, arguments=turn.arguments
    )
    return orjson.dumps(_converter.unstructure(record))


def decode_turn(line: bytes) -> OwnTurn | None:
    """Return what `encode_turn` was given; None: an older or a later Pensieve wrote it."""
    try:
        record = _converter.structure(orjson.loads(line), _Record)
        tokens = array("i", record.tokens)
    except (cattrs.BaseValidationError, ValueError, TypeError, OverflowError):
        return None
    return OwnTurn(
        words=record.words, tokens=tokens, opening=record.opening, gist=record.gist, arguments=record.arguments
    )
