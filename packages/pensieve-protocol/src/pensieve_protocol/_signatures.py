"""Signatures of reasoning: what they hold, and what is made of them when they come back.

A signature proves that this installation wrote a text: HMAC-SHA256 under a key of its own. With `display: omitted` the
client is sent no text, and returns none; then the signature carries it ("a signature is returned for multi-turn
continuity", the SDK on `display`), compressed: it was left out to save the client its reading, and is no secret.

Signatures of others, and texts that were changed, are taken as they come: a conversation may have begun elsewhere, and
refusing would end it. Pure: the key is passed in.

    base64url(kind, 1 byte; MAC, 32 bytes; the compressed text, of kind SEALED)
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import zlib
from typing import TypeVar

import attrs

from pensieve_protocol._blocks import ContentBlock, ThinkingBlock
from pensieve_protocol._requests import CountTokensRequest, InputMessage

__all__ = ["Recalled", "Signatures"]

_Request = TypeVar("_Request", bound=CountTokensRequest)

_CONTEXT = b"pensieve-thinking-1\0"
_MAC_BYTES = hashlib.sha256().digest_size


class _Kind(enum.Enum):
    PLAIN = b"\x01"
    SEALED = b"\x02"


@attrs.frozen(kw_only=True)
class Recalled:
    """What came back."""

    text: str
    verified: bool
    """This installation wrote it, word for word."""


class Signatures:
    """Signs and verifies.

    Args:
        key: Known to this installation alone; 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, text: str) -> str:
        """Return the signature of a text that the client is sent."""
        return self._written(_Kind.PLAIN, text.encode("utf-8", "replace"), b"")

    def seal(self, text: str) -> str:
        """Return the signature of a text that the client is not sent; it holds the text."""
        packed = zlib.compress(text.encode("utf-8", "replace"))
        return self._written(_Kind.SEALED, packed, packed)

    def recall(self, text: str, signature: str) -> Recalled:
        """Return the text that a client means by `text` and `signature`; `text` itself when they are not ours."""
        written = _read(signature)
        if written is None:
            return Recalled(text=text, verified=False)
        kind, mac, packed = written
        signed = packed if kind is _Kind.SEALED else text.encode("utf-8", "replace")
        verified = hmac.compare_digest(mac, self._mac(kind, signed))
        if verified and kind is _Kind.SEALED and not text:
            return Recalled(text=zlib.decompress(packed).decode(), verified=True)
        return Recalled(text=text, verified=verified and kind is _Kind.PLAIN)

    def recall_all(self, request: _Request) -> tuple[_Request, int]:
        """Return `request` with all its reasoning recalled, and how many blocks of it were not verified."""
        messages = tuple(self._recalled(message) for message in request.messages)
        foreign = sum(count for _, count in messages)
        return attrs.evolve(request, messages=tuple(message for message, _ in messages)), foreign

    def _recalled(self, message: InputMessage) -> tuple[InputMessage, int]:
        if isinstance(message.content, str) or not any(isinstance(block, ThinkingBlock) for block in message.content):
            return message, 0
        foreign = 0
        blocks: list[ContentBlock] = []
        for block in message.content:
            if not isinstance(block, ThinkingBlock):
                blocks.append(block)
                continue
            recalled = self.recall(block.thinking, block.signature)
            foreign += not recalled.verified
            blocks.append(attrs.evolve(block, thinking=recalled.text))
        return attrs.evolve(message, content=tuple(blocks)), foreign

    def _written(self, kind: _Kind, signed: bytes, packed: bytes) -> str:
        return base64.urlsafe_b64encode(kind.value + self._mac(kind, signed) + packed).decode()

    def _mac(self, kind: _Kind, signed: bytes) -> bytes:
        return hmac.digest(self._key, _CONTEXT + kind.value + signed, hashlib.sha256)


def _read(signature: str) -> tuple[_Kind, bytes, bytes] | None:
    """Return the parts of a signature that is built as ours are."""
    try:
        data = base64.b64decode(signature.encode("ascii", "replace"), altchars=b"-_", validate=True)
        kind = _Kind(data[:1])
    except (binascii.Error, ValueError):
        return None
    mac, packed = data[1 : 1 + _MAC_BYTES], data[1 + _MAC_BYTES :]
    return (kind, mac, packed) if bool(packed) == (kind is _Kind.SEALED) else None
