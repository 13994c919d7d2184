"""Ours: a draft model guesses what a real model says, and changes nothing of it (design 2, "Drafts").

Answers are ones that no rounding can change, see `test_drafts_with_a_model`. Two draft models: SmolLM2 itself, whose
guesses are nearly all right, and what is left of it without half of its layers, whose guesses are mostly not.
"""

from __future__ import annotations

import asyncio
import contextlib
from array import array
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from collections.abc import Sequence as Several
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from structlog.testing import capture_logs

from gguf import GGUFReader, GGUFValueType, GGUFWriter
from pensieve_core import (
    DraftModel,
    ModelDescriptor,
    ModelId,
    Sampling,
    Tool,
    ToolCallArguments,
    ToolChoice,
    ToolChoiceMode,
)
from pensieve_gguf import GgufSettings
from pensieve_gguf.engine import GgufEngine
from pensieve_gguf.engine.draft_loading import LoadedDraft
from pensieve_gguf.engine.draft_model import DraftModel as Guesser
from pensieve_gguf.engine.loading import free_memory, load, plan_file
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.step_costs import GivenCosts
from pensieve_gguf.engine.vitals import GuessFigures
from pensieve_gguf.llama import Context, ContextShape, DecodeError, DecodeOutcome, Model, Rows
from pensieve_inference import SystemClock

pytestmark = pytest.mark.model

ALWAYS = {1: 1.0, 64: 1.0}
"""Further rows cost nothing: as much is drafted as can be."""
LAYERS = 30
CODER = Path.home() / ".cache/pensieve-test-models/qwen2.5-coder-1.5b-instruct.Q4_K_M.gguf"


def cut_model(
    source: Path, target: Path, dropped: range, change: Callable[[str, Any], Any] = lambda _, value: value
) -> Path:
    """Write a model without some of its layers, and with other metadata."""
    reader, writer = GGUFReader(source), GGUFWriter(target, "llama")
    kept = [layer for layer in range(LAYERS) if layer not in dropped]
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        inner = field.types[-1] if field.types[0] is GGUFValueType.ARRAY else None
        value = len(kept) if name == "llama.block_count" else field.contents()
        writer.add_key_value(name, change(name, value), field.types[0], inner)
    for tensor in reader.tensors:
        name, parts = tensor.name, tensor.name.split(".")
        if parts[0] == "blk":
            if int(parts[1]) in dropped:
                continue
            name = ".".join(["blk", str(kept.index(int(parts[1]))), *parts[2:]])
        writer.add_tensor(name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.fixture(scope="module")
def worse(smollm2: ModelDescriptor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 without some of its layers."""
    return cut_model(smollm2.path, tmp_path_factory.mktemp("drafts") / "worse.gguf", range(18, 21))


def guided(model: ModelDescriptor, path: Path) -> ModelDescriptor:
    """Return the model with a draft model."""
    size = path.stat().st_size
    return attrs.evolve(model, draft=DraftModel(id=ModelId(path.stem), path=path, size_bytes=size, parameters=1))


@contextlib.asynccontextmanager
async def opened(
    model: ModelDescriptor, costs: Mapping[int, float] | None = ALWAYS, **knobs: Any
) -> AsyncIterator[GgufEngine]:
    """Open an engine that drafts as `costs` say; by itself where there are none."""
    settings = GgufSettings(**{"context_tokens": 1_024, "threads": 1, **knobs})
    engine = GgufEngine.load(model, settings, SystemClock(), costs=GivenCosts(costs) if costs else None)
    try:
        yield engine
    finally:
        async with asyncio.timeout(30):
            await engine.aclose()


def prose(client: Any) -> Any:
    """Return a request whose answer repeats nothing of its prompt. Rounding may change its words, and does."""
    return client.request("Why is the sky blue?", max_tokens=60)


LISTS = (
    ("Say the alphabet.", "a, b, c, d, e, f,"),
    ("Count down in digits from 60.", "60, 59, 58, 57,"),
    ("Write a Python list of the numbers from 1 to 40.", "[1, 2, 3, 4, 5,"),
    ("Count in steps of ten.", "10, 20, 30, 40,"),
    ("Write the even numbers.", "2, 4, 6, 8, 10, 12,"),
)
"""Answers that no rounding changes: SmolLM2 prefers each of 40 tokens by 0.5 in the logits."""


async def told(client: Any, model: ModelDescriptor, *requests: Any, **knobs: Any) -> list[str]:
    async with opened(model, **knobs) as engine:
        return [(await client.ask(engine, request)).text for request in requests]


async def test_a_model_guesses_itself_right_and_answers_in_a_third_of_the_steps(
    smollm2: ModelDescriptor, client: Any
) -> None:
    async with opened(guided(smollm2, smollm2.path)) as engine:
        answer = await client.ask(engine, prose(client))
        vitals = engine.vitals
        assert answer.finish.usage.generated_tokens == 60
        assert answer.finish.timings.decode_steps < 60 / 3
        assert vitals.guesses_drafted > 35
        assert vitals.guesses_accepted > vitals.guesses_drafted * 0.9, "it says what it says, but for rounding"
        assert vitals.guesser.steps >= vitals.guesses_drafted
        assert vitals.guesser.prefilled > 0, "of the prompt"
        assert engine.description.model.draft is not None
        assert any("guesses ahead what it will say" in note for note in engine.description.notes)


async def test_whoever_guesses_the_answers_are_the_same(smollm2: ModelDescriptor, worse: Path, client: Any) -> None:
    requests = [client.request(*said, max_tokens=24) for said in LISTS]
    expected = await told(client, smollm2, *requests, drafts=False)
    for path in (smollm2.path, worse):
        async with opened(guided(smollm2, path)) as engine:
            for request, text in zip(requests, expected, strict=True):
                assert (await client.ask(engine, request)).text == text
            vitals = engine.vitals
            assert vitals.guesses_accepted > 0
            assert vitals.decode_steps < vitals.tokens_sampled
            assert vitals.guesser.astray == 0


async def test_a_worse_model_guesses_wrong_now_and_then(smollm2: ModelDescriptor, worse: Path, client: Any) -> None:
    async with opened(guided(smollm2, worse)) as engine:
        answer = await client.ask(engine, prose(client))
        assert answer.finish.usage.generated_tokens == 60
        assert 0 < engine.vitals.guesses_accepted < engine.vitals.guesses_drafted
        assert engine.vitals.guesser.astray == 0


async def test_the_second_answer_to_a_prompt_finds_it_in_both_caches(
    smollm2: ModelDescriptor, worse: Path, client: Any
) -> None:
    request = client.request(*LISTS[0], max_tokens=40)
    async with opened(guided(smollm2, worse)) as engine:
        first = await client.ask(engine, request)
        prefilled = engine.vitals.guesser.prefilled
        second = await client.ask(engine, request)
        assert second.text == first.text
        assert second.finish.usage.cached_tokens > 0
        assert engine.vitals.guesser.prefilled == prefilled > 0


async def test_a_seed_draws_the_same_tokens_with_a_draft_model_and_without(
    smollm2: ModelDescriptor, worse: Path, client: Any
) -> None:
    sampling = Sampling(temperature=0.3, top_p=0.9, seed=11)
    request = client.counting(31, max_tokens=40, sampling=sampling)
    assert await told(client, guided(smollm2, worse), request) == await told(client, smollm2, request, drafts=False)


async def test_several_answers_are_guessed_for_at_once_and_do_not_mix(smollm2: ModelDescriptor, client: Any) -> None:
    async with opened(guided(smollm2, smollm2.path)) as engine:
        starts = (31, 51, 71)
        answers = await asyncio.gather(*(client.ask(engine, client.counting(start, max_tokens=40)) for start in starts))
        for start, answer in zip(starts, answers, strict=True):
            assert answer.text.startswith(f" {start}, {start + 1}, {start + 2}, {start + 3}")
        assert engine.vitals.guesses_accepted > 0


async def test_who_leaves_in_the_middle_leaves_no_cell_behind_in_either_context(
    smollm2: ModelDescriptor, client: Any
) -> None:
    """All cells of the draft model are needed for the last answer: had any leaked, its end would not be guessed."""
    async with opened(guided(smollm2, smollm2.path), context_tokens=192) as engine:
        for start in (31, 51, 71):
            async with client.open(engine, client.counting(start, max_tokens=100)) as generation:
                await client.first_text(generation)
        before = engine.vitals.guesses_accepted
        answer = await client.ask(engine, client.counting(11, max_tokens=120))
        assert answer.finish.usage.generated_tokens == 120
        assert engine.vitals.guesses_accepted - before > 60
        assert engine.vitals.astray == engine.vitals.resets == 0
        assert engine.vitals.guesser.astray == 0


async def test_more_sequences_than_the_draft_model_has_cells_for_are_answered_all_the_same(
    smollm2: ModelDescriptor, client: Any
) -> None:
    async with opened(guided(smollm2, smollm2.path), context_tokens=128, cells=768) as engine:
        starts = range(21, 91, 14)
        answers = await asyncio.gather(*(client.ask(engine, client.counting(start, max_tokens=40)) for start in starts))
        for start, answer in zip(starts, answers, strict=True):
            assert answer.text.startswith(f" {start}, {start + 1}, {start + 2}, {start + 3}")
        assert engine.vitals.guesser.astray == 0


LAMP = Tool(
    name="measure_the_lamp",
    parameters={
        "type": "object",
        "properties": {"note": {"type": "string", "maxLength": 40}, "hot": {"type": "boolean"}},
        "required": ["note", "hot"],
    },
)


async def test_a_constrained_call_is_the_same_with_a_draft_model(
    smollm2: ModelDescriptor, worse: Path, client: Any
) -> None:
    """What must come is known for nothing; between, the draft model guesses, and the constraint decides."""
    request = client.request(
        "How hot is the lamp?", tools=(LAMP,), tool_choice=ToolChoice(mode=ToolChoiceMode.ANY), max_tokens=120
    )
    calls = []
    for model, drafts in ((smollm2, False), (guided(smollm2, worse), True)):
        async with opened(model, drafts=drafts) as engine:
            answer = await client.ask(engine, request)
            calls.append([event.fragment for event in answer.events if isinstance(event, ToolCallArguments)])
            guessed = engine.vitals.guesses_drafted
    assert "".join(calls[0]) == "".join(calls[1]) != ""
    assert guessed > 0


async def test_without_drafts_no_draft_model_is_loaded(smollm2: ModelDescriptor, worse: Path) -> None:
    async with opened(guided(smollm2, worse), drafts=False) as engine:
        assert engine.description.model.draft is None
        assert [term for term in engine.description.memory if term.name == "draft model"] == []


async def test_a_draft_model_is_a_part_of_the_sum(smollm2: ModelDescriptor, worse: Path) -> None:
    async with opened(guided(smollm2, worse)) as engine:
        (term,) = [term for term in engine.description.memory if term.name == "draft model"]
        assert term.size_bytes > worse.stat().st_size * 0.9


async def test_on_one_core_the_engine_finds_out_by_itself_that_guessing_does_not_pay(
    smollm2: ModelDescriptor, client: Any
) -> None:
    """Its guesses are all right, and each costs as much as the token that it saves."""
    async with opened(guided(smollm2, smollm2.path), None) as engine:
        answer = await client.ask(engine, prose(client))
        assert answer.finish.usage.generated_tokens == 60
        assert engine.vitals.guesser.steps < 20, "of 60 or more, were they worth it"


# -- the draft model itself, over real contexts ------------------------------------------------------------------------


@contextlib.contextmanager
def guessing(path: Path, *, cells: int = 512) -> Iterator[tuple[Guesser, Context]]:
    """Open a draft model with a context of its own."""
    with contextlib.closing(Model(path, gpu_layers=0)) as model:
        shape = ContextShape(cells=cells, sequences=6, batch_tokens=128, threads=1, whole_windows=True)
        with contextlib.closing(Context(model, shape)) as context:
            figures = GuessFigures()
            yield Guesser(context, figures, SystemClock().monotonic, vocabulary=model.vocabulary_size), context
            assert figures.astray == 0


def counted(model: ModelDescriptor, tokens: int) -> list[int]:
    """Return the first tokens of a text in which no next token is doubtful."""
    with contextlib.closing(Model(model.path, vocabulary_only=True)) as vocabulary:
        ids = vocabulary.tokenize_plain(", ".join(map(str, range(1, 300))))
    return [int(token) for token in ids[:tokens]]


def text(key: int, *tokens: int) -> Sequence:
    return Sequence(key=key, tokens=array("i", tokens), prompt_tokens=len(tokens), max_tokens=100)


def guesses(model: Guesser, *sequences: Sequence) -> list[tuple[int, ...]]:
    found = model.guess(dict.fromkeys(sequences, 8), floor=0.0).by_sequence
    return [found[one].tokens for one in sequences]


@pytest.mark.parametrize("kind", ["whole", "windowed"])
def test_after_whatever_was_taken_back_it_guesses_as_if_that_had_never_been(
    smollm2: ModelDescriptor, tiny_models: Any, kind: str
) -> None:
    """Also where layers have windows of 24 tokens: of a draft model's all is kept."""
    path = smollm2.path if kind == "whole" else tiny_models.windowed.path
    words = counted(smollm2, 200)
    with guessing(path) as (model, _):
        one = text(1, *words[:100])
        model.catch_up(one, 128)
        guesses(model, one)
        one.tokens.extend(words[100:])
        model.catch_up(one, 128)
        guesses(model, one)
        del one.tokens[60:]
        told = guesses(model, one)
    with guessing(path) as (model, _):
        assert guesses(model, text(1, *words[:60])) == told


def test_no_cell_of_its_context_is_lost_whoever_comes_and_leaves(smollm2: ModelDescriptor) -> None:
    """After each round the slots hold what is known of them, and in the end one sequence can have all cells."""
    random = np.random.default_rng(5)
    words = counted(smollm2, 500)
    with guessing(smollm2.path) as (model, context):
        for number in range(12):
            several = [text(4 * number + one, *words[: int(random.integers(20, 120))], one) for one in range(4)]
            for one in several:
                model.catch_up(one, 128)
            model.guess(dict.fromkeys(several, 4), floor=0.0)
            del several[0].tokens[15:]
            model.guess(dict.fromkeys(several, 2), floor=0.0)
            for one in several:
                model.release(one)
            for slot in range(6):
                assert context.holds(slot, len(model.slots.held(slot)))
        whole = text(1_000, *words)
        for _ in range(12):  # the idle leave one by one
            model.catch_up(whole, 128)
        for _ in range(6):
            told = guesses(model, whole)
        assert len(told[0]) == 8
        assert max(len(model.slots.held(slot)) for slot in range(6)) == 507


# -- what cannot be used -----------------------------------------------------------------------------------------------


async def refused(model: ModelDescriptor, draft: Path, client: Any, **knobs: Any) -> tuple[str, list[Any]]:
    """Open an engine with a draft model that it cannot use, hold that it serves, and return its note and warnings."""
    with capture_logs() as logs:
        async with opened(guided(model, draft), **knobs) as engine:
            answer = await client.ask(engine, client.counting(31))
            assert answer.text.startswith(" 31, 32, 33")
            assert engine.description.model.draft is None
            (note,) = [note for note in engine.description.notes if note.startswith("No draft model: ")]
    return note, [log for log in logs if log["event"] == "draft_model_unusable"]


async def test_a_draft_model_of_fewer_tokens_is_named_in_one_warning(
    tiny_models: Any, smollm2: ModelDescriptor, client: Any
) -> None:
    path, reason = tiny_models.windowed.path, "they have 49,152 and 2,048 tokens"
    note, warnings = await refused(smollm2, path, client)
    assert note == f"No draft model: {path.name} cannot guess for {smollm2.path.name}: {reason}."
    assert [(log["log_level"], log["model"], log["draft_model"], log["reason"]) for log in warnings] == [
        ("warning", str(smollm2.path), str(path), reason)
    ]


async def test_a_draft_model_whose_tokens_mean_something_else_is_refused(
    smollm2: ModelDescriptor, tmp_path: Path, client: Any
) -> None:
    def swapped(name: str, value: Any) -> Any:
        if name == "tokenizer.ggml.tokens":
            value[20_000], value[20_001] = value[20_001], value[20_000]
        return value

    path = cut_model(smollm2.path, tmp_path / "swapped.gguf", range(2, LAYERS), swapped)
    note, _ = await refused(smollm2, path, client)
    assert "cannot guess for" in note
    assert "token 20000 is " in note


async def test_a_draft_model_that_begins_its_texts_otherwise_is_refused(
    smollm2: ModelDescriptor, tmp_path: Path, client: Any
) -> None:
    def begun(name: str, value: Any) -> Any:
        return not value if name == "tokenizer.ggml.add_bos_token" else value

    path = cut_model(smollm2.path, tmp_path / "begun.gguf", range(2, LAYERS), begun)
    note, _ = await refused(smollm2, path, client)
    assert note.endswith("their texts begin with the tokens None and 1.")


@pytest.mark.coder
async def test_smollm2_does_not_guess_with_the_coder(smollm2: ModelDescriptor, client: Any) -> None:
    note, warnings = await refused(smollm2, CODER, client)
    assert "they have 49,152 and 151,936 tokens" in note
    assert len(warnings) == 1


async def test_a_draft_model_that_is_no_model_or_is_gone_is_no_obstacle(
    smollm2: ModelDescriptor, tmp_path: Path, client: Any
) -> None:
    for name in ("broken.gguf", "gone.gguf"):
        path = tmp_path / name
        path.write_bytes(b"GGUF, or so they say")
        descriptor = guided(smollm2, path)
        if name == "gone.gguf":
            path.unlink()
        with capture_logs() as logs:
            async with opened(descriptor) as engine:
                assert (await client.ask(engine, client.counting(31))).text.startswith(" 31, 32")
        assert [log["event"] for log in logs].count("draft_model_unusable") == 1


def test_what_was_planned_for_a_draft_model_that_is_of_no_use_after_all_is_the_models(
    smollm2: ModelDescriptor, tmp_path: Path
) -> None:
    path = tmp_path / "going.gguf"
    path.symlink_to(smollm2.path)
    descriptor, settings = guided(smollm2, path), GgufSettings(threads=1, memory_bytes=2 << 30)
    with contextlib.closing(load(smollm2, settings)) as loaded:
        alone = loaded.description

    def gone(_: float) -> bool:
        path.unlink(missing_ok=True)
        return True

    assert any(term.name == "draft model" for term in plan_file(descriptor, settings, free_memory(settings)).fit.terms)
    with contextlib.closing(load(descriptor, settings, gone)) as loaded:
        assert loaded.draft is None
        assert loaded.description.memory == alone.memory
        assert loaded.description.context_tokens == alone.context_tokens


def test_whoever_stops_a_models_decode_stops_its_draft_models(smollm2: ModelDescriptor) -> None:
    """While steps are measured, whoever asks first does not wait for either."""
    with contextlib.closing(load(guided(smollm2, smollm2.path), GgufSettings(context_tokens=256, threads=1))) as loaded:
        assert loaded.draft is not None
        rows = [Rows(slot=0, start=0, tokens=array("i", range(100)), wants_logits=True)]
        loaded.context.abort.raise_flag()
        assert loaded.draft.context.decode(rows)[0] is DecodeOutcome.ABORTED


class TornContext(Context):
    """Cannot compute anything."""

    def decode(self, rows: Several[Rows]) -> tuple[DecodeOutcome, list[int]]:
        msg = "a graph that cannot be computed"
        raise DecodeError(msg)


async def test_a_draft_model_that_fails_while_steps_are_measured_is_no_obstacle(
    smollm2: ModelDescriptor, client: Any
) -> None:
    settings = GgufSettings(context_tokens=512, threads=1)
    loaded = load(guided(smollm2, smollm2.path), settings)
    assert loaded.draft is not None
    loaded.draft.context.close()
    torn = TornContext(loaded.draft.model, loaded.draft.context.shape)
    loaded = attrs.evolve(loaded, draft=LoadedDraft(loaded.draft.model, torn))
    with capture_logs() as logs:
        engine = GgufEngine(loaded, settings, SystemClock())
        async with asyncio.timeout(60):
            try:
                while all(log["event"] != "draft_model_failed" for log in logs):  # noqa: ASYNC110 - nothing to wait on
                    await asyncio.sleep(0.01)
                assert (await client.ask(engine, client.counting(31))).text.startswith(" 31, 32")
            finally:
                await engine.aclose()
    assert [log["event"] for log in logs].count("draft_model_failed") == 1


async def test_what_cannot_be_taken_back_neither_guesses_nor_is_guessed_for(
    tiny_models: Any, smollm2: ModelDescriptor, client: Any
) -> None:
    note, _ = await refused(smollm2, tiny_models.hybrid.path, client)
    assert note.endswith("what the smaller one has computed cannot be taken back.")
    async with opened(guided(tiny_models.hybrid, smollm2.path)) as engine:
        (note,) = [note for note in engine.description.notes if note.startswith("No draft model: ")]
    assert note.endswith("what the larger one has computed cannot be taken back.")


async def test_without_memory_for_it_the_model_is_loaded_alone(smollm2: ModelDescriptor, client: Any) -> None:
    async with opened(smollm2) as engine:
        needed = sum(term.size_bytes for term in engine.description.memory if not term.at_most)
    note, warnings = await refused(smollm2, smollm2.path, client, memory_bytes=needed + (64 << 20))
    assert "GiB, and" in note
    assert warnings == [], "nothing is wrong with it"
