"""Talking to the hub: what a repository holds, and the bytes of a file from any position on.

The one module that imports huggingface_hub, which brings the addresses, the user's token, proxies, offline mode and the
hub's error codes. Its own download is not used: in version 2 it begins anew whenever a process ends, checks no hash,
and gives a file its final name as soon as its length is right (docs/adr/0008-our-own-transfer.md).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import attrs
import httpx2
from huggingface_hub import HfApi, ModelInfo, constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import (  # type: ignore[attr-defined] # public by their documentation
    build_hf_headers,
    hf_raise_for_status,
)

from pensieve_registry._references import HubFile, HubRef, checked_file_name
from pensieve_registry.hub._errors import NotAtHubError, PullError
from pensieve_registry.hub._repository import RemoteFile, RemoteRepository

__all__ = ["Body", "Hub", "HubSource", "UnavailableError"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_OID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_SUFFIX = ".gguf"
_FILES_LIMIT = 100_000
_REFUSED = frozenset({401, 403, 404})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_PASSING_ERRORS = (httpx2.TransportError, httpx2.StreamError, httpx2.DecodingError)
_PAUSE_LIMIT_S = 300.0


class UnavailableError(PullError):
    """The hub cannot answer just now; `retry_after_s` is its own wish, 0 when it has none."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message, resumable=True)
        self.retry_after_s = retry_after_s


@attrs.frozen(kw_only=True)
class Body:
    """Some of a file, on its way."""

    offset: int
    """Where in the file it begins: 0 when the server did not go along with the wish."""
    chunks: Iterator[bytes]
    """Raises `UnavailableError` when it breaks off. It may end early without a word."""


class HubSource(Protocol):
    """What a transfer needs of the hub."""

    def open(self, repository: RemoteRepository, name: HubFile, offset: int) -> AbstractContextManager[Body]:
        """Return the file from `offset` on, if the server can.

        Raises:
            UnavailableError: not now.
            PullError: not at all.
        """
        ...


class Hub:
    """The Hugging Face hub, or what speaks like it.

    Args:
        endpoint: Its address; None: `HF_ENDPOINT`, else the public one.
        offline: Ask nobody. `HF_HUB_OFFLINE` means the same.
        patience_s: How long a silent server is waited for.
    """

    def __init__(self, *, endpoint: str | None = None, offline: bool = False, patience_s: float = 30.0) -> None:
        self._endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
        self._patience = httpx2.Timeout(patience_s, connect=min(patience_s, 10.0))
        self._patience_s = patience_s
        self.offline = offline or constants.is_offline_mode()

    def repository(self, ref: HubRef) -> RemoteRepository:
        """Return the GGUF files of a repository. One request.

        Raises:
            NotAtHubError: it is not there, or not for this user.
            UnavailableError: the hub did not answer.
            UnsafeFileNameError: a GGUF file of it has a name that must not reach a disk.
            PullError: offline, or the answer makes no sense.
        """
        with _translated(str(ref)):
            self._check_online(str(ref))
            info = HfApi(endpoint=self._endpoint).model_info(
                ref.repository, revision=ref.revision, files_metadata=True, timeout=self._patience_s
            )
            return _repository(ref, info, self._oid)

    @contextmanager
    def open(self, repository: RemoteRepository, name: HubFile, offset: int) -> Iterator[Body]:
        """Return the bytes of a file; see `HubSource`."""
        self._check_online(name)
        url = hf_hub_url(repository.repository, name, revision=repository.commit, endpoint=self._endpoint)
        headers = {**build_hf_headers(), "Accept-Encoding": "identity", "Range": f"bytes={offset}-"}
        with (
            _translated(name),
            get_session().stream(
                "GET", url, headers=headers, timeout=self._patience, follow_redirects=True
            ) as response,
        ):
            if response.is_error:
                response.read()
            hf_raise_for_status(response)
            yield Body(offset=_offset(response, offset), chunks=_chunks(response, name))

    def _oid(self, ref: HubRef, commit: str, name: HubFile) -> str | None:
        """Ask for the hash of one file: the list leaves it out for some that are not in the usual storage."""
        url = hf_hub_url(ref.repository, name, revision=commit, endpoint=self._endpoint)
        return get_hf_file_metadata(url, headers=build_hf_headers(), timeout=self._patience_s).etag

    def _check_online(self, what: str) -> None:
        if self.offline:
            raise PullError(f"{what} is not in the cache, and nothing is fetched offline (--offline, HF_HUB_OFFLINE)")


def _chunks(response: httpx2.Response, name: str) -> Iterator[bytes]:
    """Yield what arrives as it arrives: what waits for a chunk to fill up is lost when the connection breaks."""
    with _translated(name):
        yield from response.iter_bytes()


def _offset(response: httpx2.Response, wanted: int) -> int:
    """Return where the body begins. A server may ignore the range, or answer with another."""
    if response.status_code != httpx2.codes.PARTIAL_CONTENT:
        return 0
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != wanted:
        msg = "the server sent another part of the file than was asked for"
        raise UnavailableError(msg)
    return wanted


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn the errors of huggingface_hub and of the network into ours."""
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise PullError(f"{what} is not in the cache, and nothing is fetched offline (HF_HUB_OFFLINE)") from error
    except GatedRepoError as error:
        raise NotAtHubError(
            f"{what}: its owner asks for consent first: accept it on the hub's page, {_LOGIN}"
        ) from error
    except RepositoryNotFoundError as error:
        raise NotAtHubError(f"{what}: no such repository at the hub, or a private one: {_LOGIN}") from error
    except HfHubHTTPError as error:
        raise _answered(what, error) from error
    except _PASSING_ERRORS as error:
        raise UnavailableError(f"the hub does not answer ({type(error).__name__}: {error})") from error


_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"


def _answered(what: str, error: HfHubHTTPError) -> PullError:
    status = error.response.status_code
    if status in _PASSING:
        return UnavailableError(f"the hub answers {status}", _retry_after_s(error.response))
    if status in _REFUSED:
        return NotAtHubError(f"{what}: the hub answers {status}: {error.server_message or 'not found'}")
    return PullError(f"{what}: the hub answers {status}: {error.server_message or 'and does not say why'}")


def _retry_after_s(response: httpx2.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), _PAUSE_LIMIT_S) if text.isdecimal() else 0.0


def _repository(ref: HubRef, info: ModelInfo, oid_of: Callable[[HubRef, str, HubFile], str | None]) -> RemoteRepository:
    commit, siblings = info.sha or "", info.siblings or []
    if not _COMMIT.fullmatch(commit) or len(siblings) > _FILES_LIMIT:
        raise PullError(f"{ref}: the hub's answer names no commit, or more files than there can be")
    names = [sibling for sibling in siblings if sibling.rfilename.lower().endswith(_SUFFIX)]
    files = [_remote_file(sibling, lambda name: oid_of(ref, commit, name)) for sibling in names]
    files.sort(key=lambda file: file.name)
    return RemoteRepository(repository=ref.repository, revision=ref.revision, commit=commit, files=tuple(files))


def _remote_file(sibling: RepoSibling, oid_of: Callable[[HubFile], str | None]) -> RemoteFile:
    name = checked_file_name(sibling.rfilename)
    size, oid = (sibling.lfs.size, sibling.lfs.sha256) if sibling.lfs else (sibling.size, oid_of(name))
    if not isinstance(oid, str) or not _OID.fullmatch(oid) or not isinstance(size, int) or size < 0:
        raise PullError(f"{name}: the hub does not say how long it is, or what its hash is")
    return RemoteFile(name=name, size_bytes=size, oid=oid)
