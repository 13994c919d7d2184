"""The life of a server in this process: a real socket and Hypercorn, a scripted engine, signals to ourselves."""

from __future__ import annotations

import asyncio
import io
import signal
from pathlib import Path
from typing import Any, ClassVar

import attrs
import httpx2
import pytest

from pensieve_cli import serving
from pensieve_cli.banner import Announcer
from pensieve_cli.composition import Application, compose
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.http_server import Receive, Scope, Send
from pensieve_cli.listener import Listener, open_listener
from pensieve_cli.serving import Terminal, serve
from pensieve_cli.settings import EngineSettings, ListenSettings, MemorySettings, ModelSettings, Settings
from pensieve_cli.stopping import Patience
from pensieve_core import ModelBrokenError, ModelDescriptor, ModelId
from pensieve_inference import InferenceEngine
from pensieve_inference.testing import (
    FakeClock,
    InMemoryCatalog,
    ScriptedEngine,
    ScriptedProvider,
    make_descriptor,
    say,
)

_BOUND_S = 20.0
_BODY = {"model": "scripted", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}


class _NeverEnds:
    """A hard end that would be a bug to need."""

    def arm(self, seconds: float) -> None:
        """Note nothing."""

    def disarm(self) -> None:
        """Note nothing."""


class _Said(io.StringIO):
    """What is printed, and a way to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def write(self, text: str) -> int:
        self._more.set()
        return super().write(text)

    async def until(self, text: str) -> None:
        async with asyncio.timeout(_BOUND_S):
            while text not in self.getvalue():
                self._more.clear()
                await self._more.wait()


class _Started:
    """A server in this process, and what it has said."""

    def __init__(self, application: Application) -> None:
        self.listener: Listener = open_listener(ListenSettings(port=0))
        self.said = _Said()
        self.recorded: list[tuple[str, dict[str, Any]]] = []
        terminal = Terminal(
            announcer=Announcer(self.said), record=lambda event, **facts: self.recorded.append((event, facts))
        )
        patience = Patience(drain_s=0.1)
        self.exit_code = asyncio.ensure_future(
            serve(application, self.listener, patience=patience, terminal=terminal, hard_end=_NeverEnds())
        )

    async def stop(self) -> ExitCode:
        """Signal this process, which is the server, and wait for its end."""
        signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(_BOUND_S):
            code = await self.exit_code
        self.listener.socket.close()
        return code


def _application(**parts: Any) -> Application:
    return compose(Settings(), **{"catalog": InMemoryCatalog(), "engines": ScriptedProvider(), **parts})


class _SlowToLoad(ScriptedProvider):
    """Loads when the test lets it."""

    def __init__(self) -> None:
        super().__init__(ScriptedEngine(say("loaded at last")))
        self.may_load = asyncio.Event()

    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        await self.may_load.wait()
        return await super().engine(model)


async def test_a_request_waits_for_the_model_that_loads_in_the_background() -> None:
    engines = _SlowToLoad()
    server = _Started(_application(engines=engines))
    async with httpx2.AsyncClient(base_url=server.listener.url, timeout=_BOUND_S) as client:
        assert (await client.get("/healthz")).status_code == 200
        request = asyncio.ensure_future(client.post("/v1/messages", json=_BODY))
        await client.get("/healthz")
        assert not request.done()
        assert "ready" not in server.said.getvalue()
        engines.may_load.set()
        assert (await request).json()["content"][0]["text"] == "loaded at last"
    await server.said.until("ready")
    assert await server.stop() is ExitCode.OK
    assert engines.closed
    assert [event for event, _ in server.recorded] == ["server_listening", "model_loaded"]


async def test_a_signal_while_the_model_loads_stops_the_loading() -> None:
    engines = _SlowToLoad()
    server = _Started(_application(engines=engines))
    await server.said.until("loading")
    assert await server.stop() is ExitCode.OK
    assert engines.closed
    assert "ready" not in server.said.getvalue()


async def test_what_is_pinned_is_loaded_after_the_default_model() -> None:
    class Noting(ScriptedProvider):
        pins: ClassVar[list[tuple[str, bool | None]]] = []

        async def load(self, model: ModelDescriptor, *, pin: bool | None = None) -> None:
            self.pins.append((model.id, pin))
            if model.id == "torn":
                raise ModelBrokenError(model.id, "too torn")
            await super().load(model, pin=pin)

    catalog = InMemoryCatalog(*(make_descriptor(name) for name in ("first", "torn", "last")))
    settings = Settings(memory=MemorySettings(pinned=("torn", "last")))
    server = _Started(compose(settings, catalog=catalog, engines=Noting()))
    async with asyncio.timeout(_BOUND_S):
        while len(Noting.pins) < 3:  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0)
    assert Noting.pins == [("first", None), ("torn", True), ("last", True)]
    assert await server.stop() is ExitCode.OK


async def test_a_model_that_cannot_be_loaded_is_told_and_the_server_goes_on() -> None:
    server = _Started(_application(engines=ScriptedProvider(error=ModelBrokenError(ModelId("scripted"), "too torn"))))
    await server.said.until("too torn")
    async with httpx2.AsyncClient(base_url=server.listener.url, timeout=_BOUND_S) as client:
        assert (await client.get("/healthz")).status_code == 200
    assert await server.stop() is ExitCode.OK


async def test_a_server_that_nobody_asks_goes_down_in_good_order() -> None:
    engines, clock = ScriptedProvider(), FakeClock()
    application = compose(
        Settings(listen=ListenSettings(idle_exit_seconds=60)),
        catalog=InMemoryCatalog(),
        engines=engines,
        clock=clock,
    )
    server = _Started(application)
    await server.said.until("ready")
    async with httpx2.AsyncClient(base_url=server.listener.url, timeout=_BOUND_S) as client:
        assert (await client.get("/healthz")).status_code == 200
        await clock.advance(59)
        assert not server.exit_code.done()
    await clock.advance(60)
    async with asyncio.timeout(_BOUND_S):
        assert await server.exit_code is ExitCode.OK
    server.listener.socket.close()
    assert engines.closed
    assert "nobody has asked for 60 s" in server.said.getvalue()


async def test_the_banner_counts_further_models() -> None:
    catalog = InMemoryCatalog(make_descriptor(), make_descriptor("other"))
    server = _Started(_application(catalog=catalog))
    await server.said.until("ready")
    assert "1 more" in server.said.getvalue()
    await server.stop()


async def test_a_server_that_breaks_is_a_failure_and_closes_its_engines() -> None:
    async def cannot(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    engines = ScriptedProvider()
    application = attrs.evolve(_application(engines=engines), app=cannot)
    listener = open_listener(ListenSettings(port=0))
    listener.socket.close()
    terminal = Terminal(announcer=Announcer(io.StringIO()), record=lambda *_, **__: None)
    with pytest.raises(CommandError, match="ended by itself") as failed:
        await serve(application, listener, patience=Patience(drain_s=0), terminal=terminal, hard_end=_NeverEnds())
    assert failed.value.exit_code is ExitCode.FAILURE
    assert engines.closed


def test_without_any_model_nothing_is_served() -> None:
    class _Empty(InMemoryCatalog):
        def models(self) -> tuple[ModelDescriptor, ...]:
            return ()

    with pytest.raises(CommandError, match="--model FILE") as refused:
        serving.default_model(_application(catalog=_Empty()))
    assert refused.value.exit_code is ExitCode.NOT_FOUND


def test_a_whole_run_from_settings_to_exit_code(
    scripted_engine: tuple[tuple[str, ...], dict[str, str]],
    model_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The engine signals the process as soon as it is asked for: that is when all is up."""
    for folder in scripted_engine[1]["PYTHONPATH"].split(":"):
        monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("CLI_SCRIPT", "signals")
    settings = Settings(
        listen=ListenSettings(port=0),
        model=ModelSettings(model=str(model_file)),
        engine=EngineSettings(engine="scripted"),
    )
    assert serving.run(settings) is ExitCode.OK
    printed = capsys.readouterr()
    assert "Pensieve" in printed.out
    assert "server_stopped" in printed.err
