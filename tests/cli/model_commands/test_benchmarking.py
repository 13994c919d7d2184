"""`pensieve-server bench`: what is measured with an engine whose times are known, and the command as a whole."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from pensieve_cli.errors import CommandError
from pensieve_cli.model_commands.bench_report import BenchReport, Machine, Round, bench_lines, bench_report
from pensieve_cli.model_commands.engine_thread import EngineThread
from pensieve_cli.model_commands.measuring import Bench
from pensieve_cli.printing import print_lines
from pensieve_core import (
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    ModelId,
    TextProduced,
    Timings,
    Usage,
)
from pensieve_inference.testing import ScriptedEngine, ScriptedProvider, make_descriptor

CheckJson = Callable[[str, str], Any]
_MACHINE = Machine(cpu="CPU [x]", cores=4, memory_bytes=16 * 10**9, system="Linux", python="3.11.7", pensieve="0.1.0")


def _finished(generated: int, *, decode_s: float = 2.0) -> GenerationFinished:
    return GenerationFinished(
        reason=FinishReason.MAX_TOKENS,
        usage=Usage(prompt_tokens=520, cached_tokens=20, generated_tokens=generated),
        timings=Timings(prefill_s=2.5, decode_s=decode_s, prefilled_tokens=500),
    )


def _bench(thread: EngineThread, times: Sequence[float]) -> Bench:
    return Bench(engine=thread, model=ModelId("m"), now=iter(times).__next__)


def _script(*events: GenerationEvent) -> ScriptedEngine:
    return ScriptedEngine(list(events))


def test_a_round_tells_the_engines_times_and_the_first_token_of_who_waits() -> None:
    engine = _script(TextProduced(text="a"), TextProduced(text="b"), _finished(101))
    with EngineThread(ScriptedProvider(engine), make_descriptor()) as thread:
        one = _bench(thread, [10.0, 12.75]).round(30, 101, seed=1)
    assert (one.first_token_s, one.prefill_tokens_per_s, one.decode_tokens_per_s) == (2.75, 200.0, 50.0)
    assert (one.prompt_tokens, one.cached_tokens, one.generated_tokens) == (520, 20, 101)


def test_an_answer_of_one_token_has_no_rate() -> None:
    engine = _script(_finished(1, decode_s=0.0))
    with EngineThread(ScriptedProvider(engine), make_descriptor()) as thread:
        one = _bench(thread, [0.0, 1.0]).round(30, 1, seed=1)
    assert one.decode_tokens_per_s is None
    assert one.first_token_s == 1.0


def test_no_two_rounds_begin_alike() -> None:
    engine = _script(_finished(5))
    with EngineThread(ScriptedProvider(engine), make_descriptor()) as thread:
        bench = _bench(thread, [float(i) for i in range(100)])
        for seed in range(8):
            bench.round(30, 5, seed=seed)
    assert len({_text(request)[:4] for request in engine.requests}) == 8


def test_the_prompt_is_about_as_long_as_was_asked_for() -> None:
    """A token is a word here; with the task around them."""
    engine = _script(_finished(5))
    with EngineThread(ScriptedProvider(engine), make_descriptor()) as thread:
        bench = _bench(thread, [float(i) for i in range(100)])
        for wanted in (40, 512, 2_000):
            bench.round(bench.words_for(wanted), 5, seed=1)
            assert abs(len(_text(engine.requests[-1]).split()) - wanted) <= 1
        assert bench.words_for(1) == 1


def _text(request: GenerationRequest) -> str:
    (part,) = request.turns[0].parts
    return str(getattr(part, "text", ""))


def _round(prefill: float, decode: float | None) -> Round:
    return Round(
        prompt_tokens=512,
        cached_tokens=3,
        generated_tokens=128,
        first_token_s=prefill / 100,
        prefill_s=1.0,
        decode_s=1.0,
        prefill_tokens_per_s=prefill,
        decode_tokens_per_s=decode,
    )


def _report(*rounds: Round) -> BenchReport:
    engine = ScriptedEngine()
    report = bench_report(make_descriptor(), engine.description, rounds, machine=_MACHINE, drafts=True, load_s=1.234)
    return attrs.evolve(report, peak_memory_bytes=10**9, notes=("busy",))


def test_medians_are_told_and_every_round() -> None:
    report = _report(_round(100.0, 10.0), _round(300.0, 30.0), _round(200.0, None))
    assert (report.prefill_tokens_per_s, report.decode_tokens_per_s, report.first_token_s) == (200.0, 20.0, 2.0)
    stream = io.StringIO()
    print_lines(bench_lines(report), stream)
    printed = stream.getvalue()
    for told in ("200.0 tokens/s", "20.0 tokens/s", "1.0 GB", "CPU [x], 4 cores", "Pensieve 0.1.0", "busy", "?/s"):
        assert told in printed
    assert len(printed.splitlines()) <= 24


def test_an_engine_that_says_nothing_is_told() -> None:
    class Silent(EngineThread):
        def answer(self, request: GenerationRequest) -> Any:
            yield TextProduced(text="a")

    with (
        Silent(ScriptedProvider(ScriptedEngine()), make_descriptor()) as thread,
        pytest.raises(CommandError, match="without an answer"),
    ):
        _bench(thread, [0.0, 1.0]).round(1, 1, seed=1)


def test_the_command_measures_any_engine(
    run_command: Callable[..., subprocess.CompletedProcess[str]],
    scripted_engine: tuple[tuple[str, ...], dict[str, str]],
    check_json: CheckJson,
) -> None:
    """The scripted one cannot be told to keep nothing on the disk, and need not."""
    arguments, variables = scripted_engine
    words = ("bench", "--rounds", "2", "--answer-tokens", "10", "--json", "--port", "1", *arguments)
    done = run_command(*words, **variables)
    assert done.returncode == 0, done.stderr
    measured = check_json("bench", done.stdout)
    assert [one["generated_tokens"] for one in measured["rounds"]] == [4, 4]
    assert (measured["model"], measured["engine"]) == ("tiny", "scripted")
    assert measured["peak_memory_bytes"] > 10**6
    assert "round 2 of 2" in done.stderr


def test_a_server_that_takes_its_share_is_noted(
    run_command: Callable[..., subprocess.CompletedProcess[str]],
    scripted_engine: tuple[tuple[str, ...], dict[str, str]],
    start_server: Callable[..., Any],
) -> None:
    arguments, variables = scripted_engine
    port = start_server().url.rpartition(":")[2]
    done = run_command("bench", "--rounds", "1", "--answer-tokens", "10", "--port", port, *arguments, **variables)
    assert "takes its share" in done.stdout
