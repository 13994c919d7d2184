"""A hub on loopback: the part of the Hugging Face hub's API that fetching models needs, with faults on demand.

    with LoopbackHub() as hub:
        hub.add("owner/name", {"model-Q4_0.gguf": chat_model().encode()})
        hub.upset("model-Q4_0.gguf", Fault(cut_after=100))
        Hub(endpoint=hub.url).repository(HubRef(owner="owner", name="name"))

It speaks as huggingface_hub does: a repository's files with sizes and LFS hashes, `resolve` answered with the headers
`X-Repo-Commit`, `X-Linked-Etag` and `X-Linked-Size` and a redirect to another host, which must not see the user's
token; there the bytes, with ranges; errors with `X-Error-Code`; no xet. A test holds it against huggingface_hub's own
download. One thread a connection, ended with the `with`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import quote, unquote, urlsplit

import attrs

__all__ = ["Fault", "Gate", "LoopbackHub"]

_API = re.compile(r"/api/models/(?P<repository>[^/]+/[^/]+)(/revision/(?P<revision>.+))?")
_RESOLVE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
_CONTENT = re.compile(r"/content/(?P<repository>[^/]+/[^/]+)/(?P<file>.+)")
_RANGE = re.compile(r"bytes=(\d+)-")
_PIECE_BYTES = 16 * 1024
_GATE_LIMIT_S = 30.0


class Gate:
    """A point at which an answer stands still until somebody says otherwise."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def hold(self) -> None:
        """Stand still, for 30 seconds at most."""
        self.reached.set()
        self.opened.wait(_GATE_LIMIT_S)


@attrs.frozen(kw_only=True)
class Fault:
    """What goes wrong with one answer. Positions are those in the file."""

    status: int | None = None
    """Answer with this error instead."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of the error."""
    cut_after: int | None = None
    """Close the connection there."""
    silent_cut: bool = False
    """…having announced no more than that: the body looks whole."""
    corrupt_at: int | None = None
    """Turn over all bits of this byte."""
    pause_s: float = 0.0
    """Before each 16 KiB."""
    whole: bool = False
    """Ignore the range and send all of it."""
    shifted: int = 0
    """Send a range that begins so many bytes later than was asked for."""
    longer: bytes = b""
    """Send this behind the end."""
    gate: Gate | None = None
    """Stand still at `cut_after`, and then go on."""


@attrs.define(kw_only=True)
class _Repository:
    commit: str
    files: dict[str, bytes]
    oids: dict[str, str]
    token: str | None
    in_git: bool
    gated: bool


class LoopbackHub:
    """The server. `served` counts the bytes that left for each file, `requests` each request's method and path."""

    def __init__(self) -> None:
        self.served: Counter[str] = Counter()
        self.requests: list[tuple[str, str]] = []
        self.repositories: dict[str, _Repository] = {}
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """What `HF_ENDPOINT` is set to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def content_url(self) -> str:
        """Where contents are: under another host's name, as with the real one."""
        return f"http://localhost:{self._server.server_address[1]}"

    def __enter__(self) -> LoopbackHub:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(
        self,
        repository: str,
        files: Mapping[str, bytes],
        *,
        oids: Mapping[str, str] | None = None,
        token: str | None = None,
        in_git: bool = False,
        gated: bool = False,
    ) -> str:
        """Publish files; return the commit.

        Args:
            repository: `owner/name`.
            files: Contents by name, as they are: a hostile name stays one.
            oids: What to tell of their hashes instead of the truth.
            token: Who does not send it is told that there is no such repository.
            in_git: The files are in git itself, not in large-file storage.
            gated: Ask for consent that nobody gave.
        """
        hashed = {name: _git_oid(content) if in_git else _sha256(content) for name, content in files.items()}
        commit = hashlib.sha1(repr(sorted(hashed.items())).encode(), usedforsecurity=False).hexdigest()
        self.repositories[repository] = _Repository(
            commit=commit,
            files=dict(files),
            oids={**hashed, **(oids or {})},
            token=token,
            in_git=in_git,
            gated=gated,
        )
        return commit

    def upset(self, what: str, *faults: Fault) -> None:
        """Let the next answers about a file, or a repository's listing (`owner/name`), go wrong one by one."""
        with self._lock:
            self._faults[what].extend(faults)

    def calm(self, what: str) -> None:
        """Forget the faults that have not come to pass."""
        with self._lock:
            self._faults[what].clear()

    def take_fault(self, what: str) -> Fault:
        """Return the next fault, for the server's own use."""
        with self._lock:
            return self._faults[what].popleft() if self._faults[what] else Fault()

    def count(self, name: str, size: int) -> None:
        """Note that bytes have left."""
        with self._lock:
            self.served[name] += size


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: LoopbackHub

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: clients that leave are what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.server.hub.requests.append((self.command, path))
        for pattern, answer in ((_API, self._list), (_CONTENT, self._send_content), (_RESOLVE, self._resolve)):
            found = pattern.fullmatch(path)
            if found is not None:
                answer({key: unquote(value) for key, value in found.groupdict().items() if value is not None})
                return
        self._refuse(404, "EntryNotFound")

    def _list(self, asked: Mapping[str, str]) -> None:
        repository = self._seen(asked)
        if repository is None or self._upset(asked["repository"]):
            return
        body = json.dumps(
            {
                "id": asked["repository"],
                "sha": repository.commit,
                "siblings": [_sibling(repository, name) for name in repository.files],
            }
        ).encode()
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _resolve(self, asked: Mapping[str, str]) -> None:
        repository = self._seen(asked)
        if repository is None:
            return
        name = asked["file"]
        if name not in repository.files:
            self._refuse(404, "EntryNotFound")
            return
        self._head(
            302,
            {
                "Location": f"{self.server.hub.content_url}/content/{asked['repository']}/{quote(name)}",
                "X-Repo-Commit": repository.commit,
                "X-Linked-Etag": f'"{repository.oids[name]}"',
                "X-Linked-Size": str(len(repository.files[name])),
                "Content-Length": "0",
            },
        )

    def _send_content(self, asked: Mapping[str, str]) -> None:
        name = asked["file"]
        if "Authorization" in self.headers:
            self._refuse(400, "TokenLeaked")
            return
        fault = self.server.hub.take_fault(name) if self.command == "GET" else Fault()
        if fault.status is not None:
            self._refuse(fault.status, "", dict(fault.headers))
            return
        content = self.server.hub.repositories[asked["repository"]].files[name]
        wished = _RANGE.fullmatch(self.headers.get("Range", ""))
        ranged = wished is not None and not fault.whole
        start = int(wished[1]) + fault.shifted if wished and ranged else 0
        end = len(content) if fault.cut_after is None or not fault.silent_cut else fault.cut_after
        headers = {
            "Content-Length": str(end - start + len(fault.longer)),
            "ETag": '"content"',
            "Accept-Ranges": "bytes",
        }
        if ranged:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        self._head(206 if ranged else 200, headers)
        if self.command == "GET":
            self._stream(name, content, start, fault)

    def _stream(self, name: str, content: bytes, start: int, fault: Fault) -> None:
        for offset, piece in _pieces(content, start, fault):
            self.server.hub.count(name, len(piece))
            self.wfile.write(piece)
            self.wfile.flush()
            if fault.cut_after is not None and offset + len(piece) == fault.cut_after:
                if fault.gate is None:
                    self.close_connection = True
                    return
                fault.gate.hold()
            if fault.pause_s:
                threading.Event().wait(fault.pause_s)

    def _upset(self, what: str) -> bool:
        fault = self.server.hub.take_fault(what)
        if fault.status is not None:
            self._refuse(fault.status, "", dict(fault.headers))
        return fault.status is not None

    def _seen(self, asked: Mapping[str, str]) -> _Repository | None:
        """Return the repository, or answer that there is none."""
        repository = self.server.hub.repositories.get(asked["repository"])
        if repository is None or self.headers.get("Authorization") != _bearer(repository.token):
            self._refuse(401 if repository else 404, "RepoNotFound")
            return None
        if repository.gated:
            self._refuse(403, "GatedRepo")
            return None
        if asked.get("revision", "main") not in {"main", repository.commit}:
            self._refuse(404, "RevisionNotFound")
            return None
        return repository

    def _refuse(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        self._head(status, {"X-Error-Code": code, "Content-Length": "0", **(headers or {})})

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _pieces(content: bytes, start: int, fault: Fault) -> Iterator[tuple[int, bytes]]:
    """Yield what is sent, with its position; a piece ends where the fault wants to act."""
    content += fault.longer
    if fault.corrupt_at is not None:
        at = fault.corrupt_at
        content = content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]
    while start < len(content):
        end = min(start + _PIECE_BYTES, len(content))
        if fault.cut_after is not None and start < fault.cut_after < end:
            end = fault.cut_after
        yield start, content[start:end]
        start = end


def _sibling(repository: _Repository, name: str) -> dict[str, object]:
    size, oid = len(repository.files[name]), repository.oids[name]
    if repository.in_git:
        return {"rfilename": name, "size": size, "blobId": oid}
    return {"rfilename": name, "size": size, "blobId": "0" * 40, "lfs": {"sha256": oid, "size": size, "pointerSize": 1}}


def _bearer(token: str | None) -> str | None:
    return None if token is None else f"Bearer {token}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
