"""What the real Claude Code sent, kept in recordings/*.json.xz: bodies of requests by the name of their conversation.

Knows how recordings are stored and how they are made to tell nothing of the machine they come from. Does not know how
they are made (`record`), nor what is asked of them (the scenarios).
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["Recording", "Request", "blanked", "load", "save"]

Request: TypeAlias = Mapping[str, Any]
Recording: TypeAlias = Mapping[str, Sequence[Request]]

_FOLDER = Path(__file__).with_name("recordings")
_BLANKS = {
    r"[0-9a-f]{64}": "0" * 64,  # device ids
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}": "00000000-0000-4000-8000-000000000000",
    r"OS Version: [^\\\"]+": "OS Version: Linux 6.1",
}


def load(name: str) -> Recording:
    """Read a recording."""
    recording: Recording = json.loads(lzma.decompress((_FOLDER / f"{name}.json.xz").read_bytes()))
    return recording


def save(name: str, recording: Recording) -> None:
    """Write a recording."""
    _FOLDER.mkdir(exist_ok=True)
    text = json.dumps(recording, ensure_ascii=False, separators=(",", ":"))
    (_FOLDER / f"{name}.json.xz").write_bytes(lzma.compress(text.encode(), preset=9))


def blanked(recording: Recording, *, paths: Mapping[str, str]) -> Recording:
    """Return `recording` without ids, and with each of `paths` replaced."""
    text = json.dumps(recording, ensure_ascii=False)
    for path, instead in paths.items():
        text = text.replace(path, instead)
    for pattern, instead in _BLANKS.items():
        text = re.sub(pattern, instead, text)
    harmless: Recording = json.loads(text)
    return harmless
