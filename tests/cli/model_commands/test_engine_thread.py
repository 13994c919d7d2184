"""An engine behind a thread: events, errors, and the end of both."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time

import pytest

from pensieve_cli.model_commands.chat import Ending, Message, Question, Text, Thought
from pensieve_cli.model_commands.engine_partner import EnginePartner
from pensieve_cli.model_commands.engine_thread import EngineThread
from pensieve_core import (
    ModelBrokenError,
    ModelDescriptor,
    ModelId,
    OverloadedError,
    PrefillProgressed,
    Role,
    TextProduced,
)
from pensieve_inference import InferenceEngine
from pensieve_inference.testing import Raise, ScriptedEngine, ScriptedProvider, Wait, make_descriptor, say, think

_BOUND_S = 30.0
_QUESTION = Question(
    system="Be brief.",
    messages=(
        Message(role="user", text="a"),
        Message(role="assistant", text="b"),
        Message(role="user", text="c"),
    ),
    max_tokens=7,
)


def _provider(engine: ScriptedEngine) -> ScriptedProvider:
    return ScriptedProvider(engine)


def test_an_answer_comes_piece_by_piece_and_ends() -> None:
    engine = ScriptedEngine([PrefillProgressed(processed_tokens=1, total_tokens=2), *think("hm"), *say("one two")])
    with EngineThread(_provider(engine), make_descriptor()) as thread:
        assert thread.load() == engine.description
        pieces = list(EnginePartner(thread, ModelId("m")).answer(_QUESTION))
    *said, ending = pieces
    assert said == [Thought("hm"), Text("one"), Text(" two")]
    assert isinstance(ending, Ending)
    assert (ending.stop_reason, ending.generated_tokens) == ("end_turn", 3)


def test_the_whole_conversation_is_asked_the_system_text_first() -> None:
    engine = ScriptedEngine(say("ok"))
    with EngineThread(_provider(engine), make_descriptor()) as thread:
        list(EnginePartner(thread, ModelId("m")).answer(_QUESTION))
    (request,) = engine.requests
    assert [turn.role for turn in request.turns] == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER]
    assert request.max_tokens == 7
    assert request.origin.session is not None


def test_leaving_an_answer_ends_it_in_the_engine() -> None:
    engine = ScriptedEngine([TextProduced(text="one"), Wait(3_600.0)])
    with EngineThread(_provider(engine), make_descriptor()) as thread:
        with contextlib.closing(EnginePartner(thread, ModelId("m")).answer(_QUESTION)) as pieces:
            assert next(pieces) == Text("one")
        deadline = time.monotonic() + _BOUND_S
        while engine.running:  # each question passes the loop once
            assert thread.count_tokens(engine.requests[0]) > 0
            assert time.monotonic() < deadline


def test_an_error_of_the_engine_reaches_who_listens() -> None:
    engine = ScriptedEngine([TextProduced(text="one"), Raise(OverloadedError("no room"))])
    with EngineThread(_provider(engine), make_descriptor()) as thread:
        pieces = EnginePartner(thread, ModelId("m")).answer(_QUESTION)
        assert next(pieces) == Text("one")
        with pytest.raises(OverloadedError, match="no room"):
            next(pieces)


class _Broken(ScriptedProvider):
    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        raise ModelBrokenError(model.id, "torn")


def test_a_model_that_cannot_be_loaded_leaves_nothing_running() -> None:
    before = set(threading.enumerate())
    with pytest.raises(ModelBrokenError, match="torn"), EngineThread(_Broken(), make_descriptor()) as thread:
        thread.load()
    assert set(threading.enumerate()) <= before


class _Slow(ScriptedProvider):
    """Takes for ever to load, and has the user lose patience."""

    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
        raise AssertionError


def test_ctrl_c_while_it_loads_ends_the_wait() -> None:
    heeded = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it: inherited
    try:
        with pytest.raises(KeyboardInterrupt), EngineThread(_Slow(), make_descriptor()) as thread:
            thread.load()
    finally:
        signal.signal(signal.SIGINT, heeded)
