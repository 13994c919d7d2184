"""The key with which this installation signs its models' reasoning: made once, and kept for the next start.

It tells own reasoning from others' when a client sends it back; nobody is let in by it. A machine that cannot keep it
signs with one that ends with the process: then reasoning from before a restart counts as others' do.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

__all__ = ["signing_key"]

_BYTES = 32
_FOR_THE_OWNER_ALONE = 0o600


def signing_key(file: Path) -> bytes:
    """Return the key in `file`, which is made when there is none; two that start at once get the same one."""
    fresh = secrets.token_bytes(_BYTES)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _put_unless_there(file, fresh)
        kept = file.read_bytes()
    except OSError:
        return fresh
    return kept if len(kept) == _BYTES else fresh


def _put_unless_there(file: Path, key: bytes) -> None:
    """A link is made whole or not at all, and never over what is there."""
    beside = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FOR_THE_OWNER_ALONE)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(key)
        with contextlib.suppress(FileExistsError):
            file.hardlink_to(beside)
    finally:
        beside.unlink()
