"""Going down, with fakes for all that can hang; the real thing is in test_process.py."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest

from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.stopping import Patience, Signals, go_down

_QUICK = Patience(drain_s=0.01, farewell_s=0.02, server_s=0.03, engines_s=0.04, hurry_s=0.05, spare_s=1.0)
_BOUND_S = 10.0


class _World:
    """A drain, a server, engines and a hard end that write down what is done to them."""

    def __init__(self, *, answers: bool = True, server: bool = True, engines: bool = True) -> None:
        self.log: list[str] = []
        self._answers_end = answers
        self._server_ends = server
        self._engines_close = engines
        self._stopped = asyncio.Event()
        self.serving = asyncio.ensure_future(self._serve())
        self.hurry = asyncio.Event()
        self.draining = asyncio.Event()

    async def go_down(self, patience: Patience = _QUICK) -> ExitCode:
        async with asyncio.timeout(_BOUND_S):
            return await go_down(
                drain=self,
                server=self,
                serving=self.serving,
                engines=self,
                hurry=self.hurry,
                patience=patience,
                hard_end=self,
            )

    def begin(self, deadline_s: float) -> None:
        self.log.append(f"begin {deadline_s}")
        self.draining.set()

    async def wait_idle(self) -> None:
        if not self._answers_end:
            await asyncio.Event().wait()
        self.log.append("idle")

    def stop(self) -> None:
        self.log.append("stop")
        self._stopped.set()

    async def _serve(self) -> None:
        try:
            await self._stopped.wait()
            if not self._server_ends:
                await asyncio.Event().wait()
        finally:
            self.log.append("served")

    async def aclose(self) -> None:
        self.log.append("close")
        if not self._engines_close:
            await asyncio.Event().wait()

    def arm(self, seconds: float) -> None:
        self.log.append(f"arm {seconds:.2f}")

    def disarm(self) -> None:
        self.log.append("disarm")


async def test_the_steps_are_taken_in_order() -> None:
    world = _World()
    assert await world.go_down() is ExitCode.OK
    assert world.log == ["arm 1.10", "begin 0.01", "idle", "stop", "served", "close"]


async def test_answers_that_never_end_hold_up_nothing() -> None:
    world = _World(answers=False)
    assert await world.go_down() is ExitCode.OK
    assert world.log[2:] == ["stop", "served", "close"]


async def test_a_server_that_never_ends_is_cancelled() -> None:
    """Hypercorn 0.18 on Python 3.12 and later, with an open connection."""
    world = _World(server=False)
    assert await world.go_down() is ExitCode.OK
    assert world.log[3:] == ["stop", "served", "close"]
    assert world.serving.cancelled()


async def test_engines_that_never_close_are_given_up() -> None:
    world = _World(engines=False)
    assert await world.go_down() is ExitCode.OK
    assert world.log[-1] == "close"


async def test_a_step_that_breaks_does_not_keep_the_others_from_being_taken() -> None:
    class _Broken(_World):
        def begin(self, deadline_s: float) -> None:
            raise RuntimeError

    world = _Broken()
    assert await world.go_down() is ExitCode.OK
    assert world.log == ["arm 1.10", "stop", "served", "close"]


async def test_a_second_signal_ends_the_wait_for_answers_and_still_closes_the_engines() -> None:
    world = _World(answers=False)
    going = asyncio.ensure_future(world.go_down(Patience(drain_s=1000)))
    await world.draining.wait()
    world.hurry.set()
    assert await going is ExitCode.INTERRUPTED
    assert world.log[2:] == ["arm 7.00", "served", "close"]


async def test_a_second_signal_ends_the_wait_for_the_server_too() -> None:
    world = _World(server=False)
    going = asyncio.ensure_future(world.go_down(Patience(drain_s=1000, server_s=1000)))
    await world.draining.wait()
    world.hurry.set()
    assert await going is ExitCode.INTERRUPTED
    assert world.log[-2:] == ["served", "close"]


async def test_engines_whose_closing_was_cancelled_once_may_be_cancelled_the_second_time_too() -> None:
    """Seen with a worker whose closing is shared by all who wait for it."""

    class _Shared(_World):
        closing: asyncio.Future[None] | None = None

        async def aclose(self) -> None:
            self.log.append("close")
            self.closing = self.closing or asyncio.get_running_loop().create_future()
            self.hurry.set()
            await self.closing

    world = _Shared()
    assert await world.go_down(Patience(drain_s=0)) is ExitCode.INTERRUPTED
    assert world.log.count("close") == 2


def test_the_hard_end_leaves_time_for_every_step() -> None:
    patience = Patience(drain_s=30)
    steps = patience.drain_s + patience.farewell_s + patience.server_s + patience.engines_s
    assert steps < patience.total_s
    assert patience.total_hurried_s < patience.total_s


async def test_signals_are_counted_and_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    signals = Signals()
    with signals.caught():
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(signals.first.wait(), _BOUND_S)
        assert not signals.second.is_set()
        signal.raise_signal(signal.SIGINT)
        await asyncio.wait_for(signals.second.wait(), _BOUND_S)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("import time; ProcessEnd().arm(0.05); time.sleep(60)", 1),
        ("import re; ProcessEnd().arm(0.05); re.match('(a|aa)+$', 'a' * 60 + 'b')", 1),
        ("end = ProcessEnd(); end.arm(1.0); end.disarm(); time.sleep(1.2)", 0),
        ("asyncio.run(thrice())", 130),
    ],
    ids=["sleeps", "holds the interpreter", "disarmed", "third signal"],
)
def test_the_last_resort_ends_the_process(program: str, code: int) -> None:
    setup = (
        "import asyncio, signal, time\n"
        "from pensieve_cli.stopping import ProcessEnd, Signals\n"
        "async def thrice():\n"
        "    with Signals().caught():\n"
        "        for _ in range(3): signal.raise_signal(signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", setup + program], capture_output=True, timeout=30, check=False)
    assert done.returncode == code, done.stderr
