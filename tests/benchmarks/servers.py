"""The two servers under comparison, as processes on loopback: Pensieve, and llama-server of the same llama.cpp."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

__all__ = ["Server", "default_model", "free_port", "llama_server", "pensieve", "running"]

_START_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 20


@attrs.frozen(kw_only=True)
class Server:
    """A command to compare, and where it says that it is ready."""

    name: str
    command: tuple[str, ...]
    port: int
    ready_path: str
    variables: Mapping[str, str] = attrs.field(factory=dict)
    """Environment variables, beside those of this process."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pensieve(model: Path, *more: str, threads: int, context: int, cache: Path) -> Server:
    """Return this checkout's server, with a cache folder of its own."""
    port = free_port()
    program = str(Path(sys.executable).with_name("pensieve-server"))
    options = ("--model", str(model), "--port", str(port), "--threads", str(threads), "--ctx", str(context), *more)
    variables = {"XDG_CACHE_HOME": str(cache), "XDG_DATA_HOME": str(cache), "XDG_STATE_HOME": str(cache)}
    return Server(name="pensieve", command=(program, *options), port=port, ready_path="/readyz", variables=variables)


def llama_server(program: Path, model: Path, *more: str, threads: int, context: int) -> Server:
    """Return llama-server with its defaults, save for what makes the comparison equal."""
    port = free_port()
    options = ("-m", str(model), "--port", str(port), "-t", str(threads), "-c", str(context), "--jinja", *more)
    return Server(name="llama-server", command=(str(program), *options), port=port, ready_path="/health")


def default_model(server: Server) -> str:
    """Return the id of the model that a running Pensieve answers with."""
    with urllib.request.urlopen(f"{server.url}/status", timeout=_START_TIMEOUT_S) as answer:
        return str(json.load(answer)["default_model"])


@contextlib.contextmanager
def running(server: Server, *, cores: str | None, log: Path) -> Iterator[Server]:
    """Run `server` on `cores` (as taskset writes them) until the block ends; its output goes to `log`."""
    pinned = ("taskset", "-c", cores) if cores else ()
    with log.open("wb") as output:
        process = subprocess.Popen(
            (*pinned, *server.command),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **server.variables},
        )
        try:
            _wait_until_ready(server, process, log)
            yield server
        finally:
            _stop(process)


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with (
            contextlib.suppress(OSError, urllib.error.URLError),
            urllib.request.urlopen(server.url + server.ready_path, timeout=2) as response,
        ):
            if response.status == 200:
                return
        time.sleep(0.2)
    msg = f"{server.name} did not become ready; its log ends:\n{log.read_text(errors='replace')[-2000:]}"
    raise RuntimeError(msg)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
