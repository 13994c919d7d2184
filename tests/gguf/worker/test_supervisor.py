"""Ours: design 5, "The worker dies: then". Real workers with a real model, killed at the worst moments."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest
from structlog.testing import capture_logs

from pensieve_core import (
    DraftModel,
    EngineFailedError,
    EnginePhase,
    ModelBrokenError,
    ModelDescriptor,
    ModelId,
    OverloadedError,
    PrefillProgressed,
    PromptTooLongError,
    QuarantinedError,
    TextProduced,
)
from pensieve_gguf import GgufSettings
from pensieve_gguf.worker import SupervisedEngine
from pensieve_gguf.worker.messages import Loaded
from pensieve_gguf.worker.process import WorkerProcess
from pensieve_inference import InferenceEngine, SystemClock
from pensieve_inference.testing.contract import (
    ENGINE_CHECKS,
    MAX_TOKENS_CHECKS,
    EngineCase,
    EngineCheck,
    check_name,
    check_transcript,
)

pytestmark = pytest.mark.model

OpenSupervised = Callable[..., SupervisedEngine]
PATIENCE_S = 60.0
LONG = "You are a lighthouse keeper who loves the sea, the birds and long letters to old friends. " * 24
"""Some 500 tokens: computing them takes a second, in chunks of 64; what is done to the worker meanwhile, far less."""


class HastyClock(SystemClock):
    """Real time, save that nobody waits before a new worker is started."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def opened(open_supervised: OpenSupervised, **knobs: Any) -> AsyncIterator[SupervisedEngine]:
    engine = open_supervised(**knobs)
    async with asyncio.timeout(PATIENCE_S):
        try:
            yield engine
        finally:
            await engine.aclose()


def kill(engine: SupervisedEngine, how: signal.Signals = signal.SIGKILL) -> int:
    """End the worker; return its process id."""
    pid = engine.worker_pid
    assert pid is not None
    os.kill(pid, how)
    return pid


def phase(engine: SupervisedEngine) -> EnginePhase:
    return engine.status.phase


def draft_of(engine: SupervisedEngine) -> DraftModel | None:
    return engine.description.model.draft


def busy(engine: SupervisedEngine) -> bool:
    return engine.busy


async def replaced(engine: SupervisedEngine, pid: int) -> None:
    """Wait until another worker than `pid` is ready."""
    while engine.worker_pid == pid or phase(engine) is EnginePhase.LOADING:  # noqa: ASYNC110 - nothing to wait on
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("check", [*ENGINE_CHECKS, *MAX_TOKENS_CHECKS], ids=check_name)
async def test_keeps_the_engine_contract(check: EngineCheck, open_supervised: OpenSupervised, client: Any) -> None:
    async def fresh() -> InferenceEngine:
        engine = open_supervised(context_tokens=512, max_running=3)
        await engine.start()
        return engine

    await check(EngineCase(open_engine=fresh, request=client.request))


# -- life ----------------------------------------------------------------------------------------------------------


async def test_it_answers_as_the_engine_in_this_process_does(open_supervised: OpenSupervised, client: Any) -> None:
    async with opened(open_supervised) as engine:
        answer = await client.ask(engine, client.counting(31))
        assert answer.text.startswith(" 31, 32, 33")
        assert await engine.count_tokens(client.counting(31)) == answer.finish.usage.prompt_tokens
        assert engine.worker_pid != os.getpid()


async def test_its_status_tells_of_cold_loading_ready_and_closed(open_supervised: OpenSupervised) -> None:
    async with opened(open_supervised) as engine:
        assert phase(engine) is EnginePhase.COLD
        with pytest.raises(RuntimeError, match="not been started"):
            _ = engine.description
        starting = asyncio.create_task(engine.start())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert phase(engine) is EnginePhase.LOADING
        assert busy(engine)
        await starting
        assert phase(engine) is EnginePhase.READY
        assert engine.description.context_tokens == 2_048
        assert not busy(engine)
    assert phase(engine) is EnginePhase.CLOSED


async def test_all_who_ask_at_once_share_one_worker(open_supervised: OpenSupervised, client: Any) -> None:
    async with opened(open_supervised) as engine:
        answers = await asyncio.gather(*(client.ask(engine, client.counting(start)) for start in (7, 31, 51)))
        assert len({answer.text for answer in answers}) == 3
        assert len(psutil.Process().children()) == 1


async def test_a_prompt_too_long_is_refused_with_the_numbers(open_supervised: OpenSupervised, client: Any) -> None:
    async with opened(open_supervised, context_tokens=256) as engine:
        with pytest.raises(PromptTooLongError) as caught:
            await engine.generate(client.request("sea " * 1_000))
        assert caught.value.prompt_tokens > 1_000
        assert caught.value.maximum == 255
        assert not busy(engine)


async def test_who_left_holds_nothing(open_supervised: OpenSupervised, client: Any) -> None:
    async with opened(open_supervised, max_running=1, max_queued=0) as engine:
        for _ in range(3):
            async with client.open(engine, client.endless()) as generation:
                await client.first_text(generation)
                assert busy(engine)
            assert not busy(engine)
        assert (await client.ask(engine, client.counting(7))).text


async def test_who_leaves_before_admission_holds_nothing(open_supervised: OpenSupervised, client: Any) -> None:
    async with opened(open_supervised, max_running=1, max_queued=0) as engine:
        await engine.start()
        leaver = asyncio.create_task(engine.generate(client.request(LONG, max_tokens=1_000)))
        while not busy(engine):  # noqa: ASYNC110 - one round of the event loop
            await asyncio.sleep(0)
        leaver.cancel()
        await asyncio.wait((leaver,))
        assert leaver.cancelled()
        assert not busy(engine)
        assert (await client.ask(engine, client.counting(7))).text


async def test_nothing_is_left_when_it_is_closed(open_supervised: OpenSupervised, client: Any) -> None:
    this = psutil.Process()
    async with opened(open_supervised) as engine:  # the first one may open what asyncio keeps
        await engine.start()
    before = this.num_fds()
    async with opened(open_supervised) as engine:
        await client.ask(engine, client.counting(7))
        pid = engine.worker_pid
        assert pid is not None
    assert not psutil.pid_exists(pid)
    assert this.children() == []
    assert this.num_fds() <= before


async def test_what_was_answered_a_moment_before_the_end_is_known_at_the_next_start(
    open_supervised: OpenSupervised, client: Any, tmp_path: Path
) -> None:
    # a server stopped within the second after the answer lost what it had not written yet
    long = " ".join(f"Ship {number} keeps left." for number in range(150))
    async with opened(open_supervised, cache_folder=tmp_path) as engine:
        first = await client.ask(engine, client.request(long))
    async with opened(open_supervised, cache_folder=tmp_path) as engine:
        again = await client.ask(engine, client.request(long))
    assert first.finish.usage.cached_tokens == 0
    assert again.finish.usage.cached_tokens > 512


async def test_closing_while_it_loads_leaves_nothing_and_tells_those_who_wait(open_supervised: OpenSupervised) -> None:
    this = psutil.Process()
    async with opened(open_supervised) as engine:
        waiting = asyncio.create_task(engine.start())
        while not this.children():  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.001)
        await engine.aclose()
        with pytest.raises(OverloadedError):
            await waiting
        assert this.children() == []


# -- death ---------------------------------------------------------------------------------------------------------


async def test_a_worker_that_dies_before_the_first_token_is_not_noticed(
    open_supervised: OpenSupervised, client: Any
) -> None:
    async with opened(open_supervised, batch_tokens=64) as engine:
        async with client.open(engine, client.counting(31, system=LONG)) as generation:
            progress = await anext(generation)
            assert isinstance(progress, PrefillProgressed)
            kill(engine)
            answer = await client.rest(generation)
        assert answer.text.startswith(" 31, 32, 33")
        check_transcript((progress, *answer.events))


async def test_a_worker_that_dies_before_admission_is_not_noticed(open_supervised: OpenSupervised, client: Any) -> None:
    async with opened(open_supervised) as engine:
        await engine.start()
        kill(engine, signal.SIGSTOP)  # it cannot admit
        asking = asyncio.create_task(client.ask(engine, client.counting(31)))
        counting = asyncio.create_task(engine.count_tokens(client.counting(31)))
        while not busy(engine):  # noqa: ASYNC110 - one round of the event loop
            await asyncio.sleep(0)
        kill(engine)
        assert (await asking).text.startswith(" 31, 32, 33")
        assert await counting > 0


async def test_a_worker_that_dies_in_the_middle_of_an_answer_ends_it_and_the_next_is_served(
    open_supervised: OpenSupervised, client: Any
) -> None:
    async with opened(open_supervised) as engine:
        async with client.open(engine, client.endless()) as generation:
            await client.first_text(generation)
            pid = kill(engine)
            with pytest.raises(EngineFailedError, match="ended by signal 9"):
                await client.rest(generation)
            assert [event async for event in generation] == []
        assert (await client.ask(engine, client.counting(7))).text
        assert engine.worker_pid != pid


async def test_a_dead_worker_is_replaced_before_anyone_asks(open_supervised: OpenSupervised) -> None:
    async with opened(open_supervised) as engine:
        await engine.start()
        await replaced(engine, kill(engine))
        assert phase(engine) is EnginePhase.READY


async def test_a_request_that_kills_twice_is_refused_and_others_are_not(
    open_supervised: OpenSupervised, client: Any
) -> None:
    async with opened(open_supervised, batch_tokens=64) as engine:
        killer = client.counting(31, system=LONG)
        async with client.open(engine, killer) as generation:
            await anext(generation)
            pid = kill(engine)
            rest = asyncio.create_task(client.rest(generation))
            await replaced(engine, pid)
            while not busy(engine):  # noqa: ASYNC110 - until it is replayed
                await asyncio.sleep(0)
            kill(engine)
            with pytest.raises(QuarantinedError):
                await rest
        for _ in range(2):
            with pytest.raises(QuarantinedError):
                await engine.generate(client.counting(31, system=LONG))
            with pytest.raises(QuarantinedError):
                await engine.count_tokens(killer)
        assert (await client.ask(engine, client.counting(31))).text


async def test_of_two_that_were_there_only_the_one_that_kills_again_is_refused(
    open_supervised: OpenSupervised, client: Any
) -> None:
    """Suspects are replayed one at a time; up to twenty subagents would be refused with one of them else."""
    async with opened(open_supervised, batch_tokens=64) as engine, contextlib.AsyncExitStack() as stack:
        suspects = [
            await stack.enter_async_context(client.open(engine, client.counting(start, system=LONG)))
            for start in (31, 51)
        ]
        pid = kill(engine)
        answers = asyncio.gather(*(client.rest(suspect) for suspect in suspects), return_exceptions=True)
        await replaced(engine, pid)
        while not busy(engine):  # noqa: ASYNC110 - until one is replayed
            await asyncio.sleep(0)
        assert engine._worker is not None
        assert engine._worker.requests == 1
        kill(engine)
        results = await answers
        assert sorted(type(result).__name__ for result in results) == ["Answered", "QuarantinedError"]
        assert not engine.parole.locked()


async def test_a_suspect_that_leaves_makes_way_for_the_next(open_supervised: OpenSupervised, client: Any) -> None:
    async with opened(open_supervised) as engine:
        for _ in range(2):
            async with client.open(engine, client.endless()) as generation:
                await client.first_text(generation)
                if not engine.parole.locked():
                    kill(engine)
                    with pytest.raises(EngineFailedError):
                        await client.rest(generation)
        assert not engine.parole.locked()


async def test_a_request_that_kills_in_the_middle_of_its_answer_is_refused_the_third_time(
    open_supervised: OpenSupervised, client: Any
) -> None:
    """Clients send it again: without this, one of them could keep the engine down."""
    async with opened(open_supervised) as engine:
        for _ in range(2):
            async with client.open(engine, client.endless()) as generation:
                await client.first_text(generation)
                kill(engine)
                with pytest.raises(EngineFailedError):
                    await client.rest(generation)
        with pytest.raises(QuarantinedError):
            await engine.generate(client.endless())


async def test_a_cancelled_request_is_not_replayed(open_supervised: OpenSupervised, client: Any) -> None:
    async with opened(open_supervised, batch_tokens=64) as engine:
        async with client.open(engine, client.request(LONG, max_tokens=1_000)) as generation:
            await anext(generation)
            pid = kill(engine)
            worker = engine._worker
            assert worker is not None
            await worker.died.wait()  # the death is in its inbox
            generation.cancel()
            assert not any(isinstance(event, TextProduced) for event in (await client.rest(generation)).events)
        await replaced(engine, pid)
        assert not busy(engine)


async def test_who_leaves_while_the_engine_comes_back_need_not_wait(
    open_supervised: OpenSupervised, client: Any
) -> None:
    long = client.request(LONG, max_tokens=1_000)
    async with opened(open_supervised, batch_tokens=64) as engine, client.open(engine, long) as generation:
        await anext(generation)
        kill(engine)
        reading = asyncio.create_task(client.rest(generation))
        while phase(engine) is not EnginePhase.LOADING:  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0)
        generation.cancel()
        await reading
        assert phase(engine) is EnginePhase.LOADING


async def test_a_worker_that_hangs_is_replaced(open_supervised: OpenSupervised, client: Any) -> None:
    """SIGSTOP: no heartbeat; cooperation would wait for ever."""
    async with opened(open_supervised, stall_timeout_s=4.0) as engine:
        async with client.open(engine, client.endless()) as generation:
            await client.first_text(generation)
            pid = kill(engine, signal.SIGSTOP)
            with pytest.raises(EngineFailedError):
                await client.rest(generation)
        await replaced(engine, pid)
        assert not psutil.pid_exists(pid)


async def test_an_idle_worker_is_not_taken_for_one_that_hangs(open_supervised: OpenSupervised) -> None:
    """It says that it is there: twice, so that the first time was not the end of loading."""
    async with opened(open_supervised) as engine:
        await engine.start()
        worker = engine._worker
        assert worker is not None
        for _ in range(2):
            silent_s = 0.0
            while worker.silent_for_s() >= silent_s:
                silent_s = worker.silent_for_s()
                await asyncio.sleep(0.01)
        assert engine._worker is worker


async def test_an_engine_that_dies_again_and_again_is_given_up_with_its_last_words(
    open_supervised: OpenSupervised, client: Any
) -> None:
    async with opened(open_supervised, clock=HastyClock()) as engine:
        await engine.start()
        for _ in range(4):
            await replaced(engine, kill(engine))
        kill(engine)
        while phase(engine) is not EnginePhase.BROKEN:  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.01)
        assert "ended by signal 9" in engine.status.detail
        with pytest.raises(ModelBrokenError, match="ended by signal 9"):
            await client.ask(engine, client.counting(7))


async def test_an_engine_whose_workers_die_while_loading_is_given_up(smollm2: ModelDescriptor) -> None:
    spawned: list[WorkerProcess] = []

    async def spawn(clock: Any) -> WorkerProcess:
        program = "import sys; sys.exit('no space left on device')"
        spawned.append(await WorkerProcess.run((sys.executable, "-S", "-E", "-c", program), clock))
        return spawned[-1]

    engine = SupervisedEngine(smollm2, GgufSettings(), HastyClock(), spawn)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ModelBrokenError, match="no space left on device"):
            await engine.start()
        assert phase(engine) is EnginePhase.BROKEN
        assert len(spawned) == 5
        await engine.aclose()


async def test_a_draft_model_that_may_have_killed_its_worker_is_left_out_of_the_next(smollm2: ModelDescriptor) -> None:
    """The model serves: a file can do to native code what nobody foresaw."""
    spawned: list[WorkerProcess] = []

    async def spawn(clock: Any) -> WorkerProcess:
        program = "import sys; sys.exit('GGML_ASSERT(ne > 0) failed')"
        dying = (sys.executable, "-S", "-E", "-c", program)
        spawned.append(await (WorkerProcess.spawn(clock) if spawned else WorkerProcess.run(dying, clock)))
        return spawned[-1]

    draft = DraftModel(id=ModelId("small"), path=smollm2.path, size_bytes=smollm2.size_bytes, parameters=1)
    guided = attrs.evolve(smollm2, draft=draft)
    engine = SupervisedEngine(guided, GgufSettings(context_tokens=256, threads=1), HastyClock(), spawn)
    try:
        with capture_logs() as logs:
            async with asyncio.timeout(PATIENCE_S):
                await engine.start()
        assert draft_of(engine) is None
        (warning,) = [log for log in logs if log["event"] == "draft_model_unusable"]
        assert (warning["model"], warning["draft_model"]) == (str(smollm2.path), str(smollm2.path))
        assert "GGML_ASSERT(ne > 0) failed" in warning["reason"]
    finally:
        await engine.aclose()


async def test_a_draft_model_whose_worker_dies_before_it_has_served_is_left_out_of_the_next(
    open_supervised: OpenSupervised, smollm2: ModelDescriptor, client: Any
) -> None:
    """Its first decode is made once the model is loaded: a device may run out of memory then."""
    draft = DraftModel(id=ModelId("small"), path=smollm2.path, size_bytes=smollm2.size_bytes, parameters=1)
    guided = attrs.evolve(smollm2, draft=draft)
    async with opened(open_supervised, model=guided, clock=HastyClock(), context_tokens=256) as engine:
        await client.ask(engine, client.counting(31))
        await replaced(engine, kill(engine))
        assert draft_of(engine) == draft, "it has served: nothing is known against it"
        with capture_logs() as logs:
            await replaced(engine, kill(engine))
        assert draft_of(engine) is None
        (warning,) = [log for log in logs if log["event"] == "draft_model_unusable"]
        assert "ended by signal 9" in warning["reason"]


async def test_a_worker_that_cannot_be_started_now_is_started_when_asked_for_again(smollm2: ModelDescriptor) -> None:
    """`fork` may fail for want of memory or processes (fork(2): EAGAIN, ENOMEM); that passes."""
    refusals = [BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")]

    async def spawn(clock: Any) -> WorkerProcess:
        if refusals:
            raise refusals.pop()
        return await WorkerProcess.spawn(clock)

    engine = SupervisedEngine(smollm2, GgufSettings(context_tokens=256, threads=1), SystemClock(), spawn)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(OverloadedError, match=r"cannot be started.*Resource temporarily unavailable"):
            await engine.start()
        assert phase(engine) is EnginePhase.COLD
        assert "Resource temporarily unavailable" in engine.status.detail
        assert not busy(engine)
        await engine.start()
        assert phase(engine) is EnginePhase.READY
        await engine.aclose()


class Squeezed(WorkerProcess):
    """A worker that finds little memory."""

    async def load(
        self, model: ModelDescriptor, settings: GgufSettings, on_progress: Callable[[float], None]
    ) -> Loaded:
        return await super().load(model, attrs.evolve(settings, memory_bytes=300 << 20), on_progress)


async def test_a_worker_that_finds_less_memory_than_the_one_before_serves_with_a_shorter_context(
    smollm2: ModelDescriptor, client: Any
) -> None:
    """Nobody is left who could make room for it."""
    kinds = [Squeezed, WorkerProcess]

    async def spawn(clock: Any) -> WorkerProcess:
        return await kinds.pop().spawn(clock)

    engine = SupervisedEngine(smollm2, GgufSettings(threads=1, least_context=8_192), HastyClock(), spawn)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await engine.start()
            assert engine.description.context_tokens == 8_192
            await replaced(engine, kill(engine))
            assert phase(engine) is EnginePhase.READY
            assert 2_048 <= engine.description.context_tokens < 8_192
            assert (await client.ask(engine, client.counting(31))).text.startswith(" 31, 32, 33")
    finally:
        await engine.aclose()


async def test_a_worker_that_does_not_load_in_time_is_given_up(smollm2: ModelDescriptor) -> None:
    async def spawn(clock: Any) -> WorkerProcess:
        program = "import socket, sys; s = socket.socket(fileno=int(sys.argv[1]))\nwhile s.recv(65536): pass"
        return await WorkerProcess.run((sys.executable, "-S", "-E", "-c", program), clock)

    engine = SupervisedEngine(smollm2, GgufSettings(spawn_timeout_s=0.1), SystemClock(), spawn)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ModelBrokenError, match="did not load"):
            await engine.start()
        await engine.aclose()
    assert psutil.Process().children() == []


async def test_a_broken_file_is_refused_in_the_words_of_llama_cpp(
    open_supervised: OpenSupervised, smollm2: ModelDescriptor, tmp_path: Path
) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(smollm2.path.read_bytes()[:100_000])
    async with opened(open_supervised, model=attrs.evolve(smollm2, path=path)) as engine:
        for _ in range(2):
            with pytest.raises(ModelBrokenError, match="gguf"):
                await engine.start()
        assert phase(engine) is EnginePhase.BROKEN
        assert psutil.Process().children() == []


# -- nothing in, nothing left --------------------------------------------------------------------------------------


async def test_the_worker_does_not_see_our_secrets(
    open_supervised: OpenSupervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    async with opened(open_supervised) as engine:
        await engine.start()
        assert "hf_secret" not in str(psutil.Process(engine.worker_pid).environ())


SUPERVISOR = """
import asyncio, sys
from pathlib import Path
import attrs
from pensieve_gguf import GgufSettings
from pensieve_gguf.worker import SupervisedEngine
from pensieve_inference import SystemClock
from pensieve_inference.testing import make_descriptor

async def main():
    model = attrs.evolve(make_descriptor("m"), path=Path(sys.argv[1]))
    engine = SupervisedEngine(model, GgufSettings(context_tokens=256, threads=1), SystemClock())
    await engine.start()
    print("worker", engine.worker_pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_a_supervisor_that_is_killed_leaves_no_orphan(smollm2: ModelDescriptor) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(smollm2.path)], stdout=subprocess.PIPE, text=True
    )
    with supervisor:
        assert supervisor.stdout is not None
        words = next(line.split() for line in supervisor.stdout if line.startswith("worker"))
        worker = psutil.Process(int(words[1]))
        supervisor.kill()
    _, alive = psutil.wait_procs([worker], timeout=PATIENCE_S)
    for orphan in alive:
        orphan.kill()
    assert alive == []
