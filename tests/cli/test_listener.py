from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.listener import Listener, open_listener, require_key_beyond_loopback
from pensieve_cli.settings import ListenSettings


@contextmanager
def _listening(settings: ListenSettings) -> Iterator[Listener]:
    listener = open_listener(settings)
    with closing(listener.socket):
        yield listener


def test_port_0_is_any_free_port_and_is_known_at_once() -> None:
    with _listening(ListenSettings(port=0)) as listener:
        assert listener.port > 0
        assert listener.url == f"http://127.0.0.1:{listener.port}"
        assert listener.only_this_machine


def test_connections_queue_up_before_the_server_runs() -> None:
    with (
        _listening(ListenSettings(port=0)) as listener,
        socket.create_connection((listener.address, listener.port), timeout=20) as client,
    ):
        listener.socket.settimeout(20)
        accepted, _ = listener.socket.accept()
        with accepted:
            assert accepted.getpeername() == client.getsockname()


def test_a_taken_port_is_told_with_what_to_do() -> None:
    with _listening(ListenSettings(port=0)) as listener, pytest.raises(CommandError) as refused:
        open_listener(ListenSettings(port=listener.port))
    assert f"127.0.0.1:{listener.port} is taken" in refused.value.message
    assert "--port" in refused.value.message
    assert refused.value.exit_code is ExitCode.FAILURE


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(CommandError, match="not an address of this machine"):
        open_listener(ListenSettings(host="192.0.2.1", port=0))  # RFC 5737: nobody's


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(CommandError, match="no such address") as refused:
        open_listener(ListenSettings(host="256.256.256.256", port=0))
    assert refused.value.exit_code is ExitCode.USAGE


def test_clients_are_told_an_address_that_they_can_use() -> None:
    with socket.socket() as unused:
        assert Listener(socket=unused, address="0.0.0.0", port=1).url == "http://127.0.0.1:1"
        assert Listener(socket=unused, address="::", port=1).url == "http://[::1]:1"
        assert Listener(socket=unused, address="::1", port=1).url == "http://[::1]:1"
        assert Listener(socket=unused, address="192.0.2.7", port=1).url == "http://192.0.2.7:1"
        assert not Listener(socket=unused, address="0.0.0.0", port=1).only_this_machine


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.3.2.1", "::1"])
def test_this_machine_alone_needs_no_key(host: str) -> None:
    assert _refusal(host) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_a_network_needs_a_key_or_somebody_who_insists(host: str) -> None:
    """Ours: a server that anybody can reach and use is started by mistake more often than not."""
    refused = _refusal(host)
    assert refused is not None
    assert refused.exit_code is ExitCode.USAGE
    assert "--api-key-file" in refused.message
    assert _refusal(host, has_keys=True) is None
    assert _refusal(host, unsafe_no_key=True) is None


def _refusal(host: str, *, has_keys: bool = False, unsafe_no_key: bool = False) -> CommandError | None:
    try:
        require_key_beyond_loopback(host, has_keys=has_keys, unsafe_no_key=unsafe_no_key)
    except CommandError as refused:
        return refused
    return None
