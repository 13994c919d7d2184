"""What can be set about the HTTP side; values only, read from nowhere.

Above: `pensieve_cli` fills them from flags, environment and file. Below: the middleware and the endpoints take the
few that they need as constructor arguments.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Self

import attrs

from pensieve_http.storage.batch_store import BatchLimits
from pensieve_inference import FileLimits

__all__ = ["ApiKey", "HttpSettings"]

_FILE_LIMITS = FileLimits(max_file_bytes=500 * 2**20, max_total_bytes=10 * 2**30)
"""500 MB a file is Anthropic's own limit."""
_BATCH_LIMITS = BatchLimits(max_total_bytes=4 * 2**30, expiry_s=24 * 3_600.0, archival_s=29 * 24 * 3_600.0)
"""24 hours and 29 days are Anthropic's own."""
_DIGEST_BYTES = hashlib.sha256().digest_size


@attrs.frozen(kw_only=True)
class ApiKey:
    """One accepted key: the sha256 of its bytes, never the key itself."""

    name: str = "default"
    """For the log line: which key was used."""
    digest: bytes = attrs.field(repr=False)

    @digest.validator
    def _check_digest(self, _attribute: object, value: bytes) -> None:
        if len(value) != _DIGEST_BYTES:
            msg = f"the sha256 of a key has {_DIGEST_BYTES} bytes, not {len(value)}"
            raise ValueError(msg)

    @classmethod
    def from_plain(cls, key: str, *, name: str = "default") -> Self:
        """Hash `key` and forget it."""
        return cls(name=name, digest=hashlib.sha256(key.encode()).digest())

    @classmethod
    def from_hex(cls, digest: str, *, name: str = "default") -> Self:
        """Take a sha256 as it stands in a settings file. Raises ValueError when it is none."""
        return cls(name=name, digest=bytes.fromhex(digest))


@attrs.frozen(kw_only=True)
class HttpSettings:
    """All knobs of `create_app`. Times are in seconds, sizes in bytes."""

    version: str = "development"
    """What `/version` says."""
    api_keys: tuple[ApiKey, ...] = ()
    """Empty: everybody who reaches the port may use it."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which the server may be addressed, besides localhost, 127.0.0.1 and [::1]; without port."""
    allowed_origins: tuple[str, ...] = ()
    """Origins (`https://app.example`) whose pages may call; all others are refused."""
    strict: bool = False
    """Refuse fields and betas that are not known, sampling fields where the version has none, and answers that may not
    fit beside their prompt."""
    signing_key: bytes = attrs.field(factory=lambda: secrets.token_bytes(_DIGEST_BYTES), repr=False)
    """Signs reasoning. One that outlives the process lets it be recognised after a restart."""
    max_body_bytes: int = 32 * 1024 * 1024
    """After decoding, too; Anthropic's own limit."""
    body_timeout_s: float = 60.0
    """From the first to the last byte of a request's body."""
    max_pdf_pages: int = 100
    """Of one document; Anthropic's own limit for contexts of 200,000 tokens. 0: PDFs are refused."""
    document_timeout_s: float = 30.0
    """For reading all documents of one request."""
    file_limits: FileLimits = _FILE_LIMITS
    """Of uploads."""
    batch_limits: BatchLimits = _BATCH_LIMITS
    max_batch_bytes: int = 64 * 2**20
    """Of the request that makes a batch. Anthropic's own limit is 256 MB, which would take gigabytes of memory here."""
    batch_places: int = 2
    """Requests of batches that are run at a time, each at the lowest priority."""
    max_header_count: int = 100
    max_header_bytes: int = 32 * 1024
    """Names and values together. Hypercorn's own limit misses headers that come in one packet."""
    max_concurrent: int = 64
    """So many requests are handed to engines at a time; which of them computes is the engine's business."""
    max_queued: int = 64
    """So many more wait; the next one gets 529."""
    loading_patience_s: float = 1.0
    """A stream that has no engine by then starts all the same: from there on errors are events, not statuses."""
    admission_patience_s: float = 10.0
    """The same for a stream that has an engine, which renders and counts its prompt."""
    ping_interval_s: float = 10.0
    finish_prefill_after_s: float = 60.0
    """Who has waited so long for a JSON answer, and leaves, ran out of patience and will ask again: the prompt is
    computed to its end for that."""
    keep_alive_after_s: float = 30.0
    """After so long without content, pings give way to empty deltas: Claude Code hangs up after 300 s of pings."""
    write_timeout_s: float = 60.0
    """A client that takes nothing for so long is cut off."""
    event_buffer: int = 256
    """Events of one stream that may wait for a slow reader before its generation is held up."""
    linger_s: float = 2.0
    """How long a refused client may go on sending before its connection is closed under it."""
