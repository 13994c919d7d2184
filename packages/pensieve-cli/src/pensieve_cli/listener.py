"""The socket that the server listens on: opened by us, so that its errors are ours and port 0 is known.

Also the rule that keeps a server without a key on its own machine. Knows nothing of HTTP.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from typing import TypeAlias

import attrs

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.settings import ListenSettings

__all__ = ["Listener", "client_url", "open_listener", "require_key_beyond_loopback"]

_BACKLOG = 100  # Hypercorn's own default
_Address: TypeAlias = tuple[socket.AddressFamily, str]


@attrs.frozen(kw_only=True)
class Listener:
    """A listening socket, and how clients call it. Whoever opens it closes it."""

    socket: socket.socket
    address: str
    """The numeric address."""
    port: int

    @property
    def url(self) -> str:
        """Where a client on this machine finds the server."""
        return f"http://{_client_host(self.address)}:{self.port}"

    @property
    def only_this_machine(self) -> bool:
        """Nobody else can connect."""
        return _is_loopback(self.address)


def client_url(settings: ListenSettings) -> str:
    """Return where a client on this machine finds the server of these settings, whose port is known.

    Raises:
        CommandError: the address is unknown.
    """
    _, address = _resolve(settings.host)
    return f"http://{_client_host(address)}:{settings.port}"


def require_key_beyond_loopback(host: str, *, has_keys: bool, unsafe_no_key: bool) -> None:
    """Refuse to open a server to a network without any key.

    Raises:
        CommandError: `host` is not this machine alone (or unknown), there is no key, and nobody insists.
    """
    _, address = _resolve(host)
    if has_keys or unsafe_no_key or _is_loopback(address):
        return
    raise CommandError(
        f"{host} can be reached from other machines, and no key is set: anybody could use this server. "
        "Set one with --api-key-file FILE or PENSIEVE_API_KEY, or listen on 127.0.0.1. "
        "(--unsafe-no-key opens it to everybody.)",
        ExitCode.USAGE,
    )


def open_listener(settings: ListenSettings) -> Listener:
    """Open the socket and listen. From then on connections queue up, even before the server runs.

    Raises:
        CommandError: the address is unknown or not ours, the port is taken or not allowed.
    """
    family, address = _resolve(settings.host)
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setblocking(False)  # noqa: FBT003 - socket takes it by position alone
        listening.bind((address, settings.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise CommandError(_explain(error, settings), ExitCode.FAILURE) from error
    return Listener(socket=listening, address=address, port=listening.getsockname()[1])


def _resolve(host: str) -> _Address:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CommandError(
            f"--host {host}: no such address on this machine ({error.strerror})", ExitCode.USAGE
        ) from error
    # IPv4 first: where `localhost` is both, that is the one that everybody tries.
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, str(address[0])


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _client_host(address: str) -> str:
    if ipaddress.ip_address(address).is_unspecified:
        return "127.0.0.1" if "." in address else "[::1]"
    return f"[{address}]" if ":" in address else address


def _explain(error: OSError, settings: ListenSettings) -> str:
    where = f"{settings.host}:{settings.port}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{where} is taken, perhaps by another pensieve-server; choose another --port, or 0 for any free one"
        case errno.EACCES:
            return f"{where} is not allowed to you; choose a --port above 1023"
        case errno.EADDRNOTAVAIL:
            return f"{settings.host} is not an address of this machine; choose another --host"
        case _:
            return f"{where} cannot be listened on: {error.strerror}"
