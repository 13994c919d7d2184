"""Ours: llama.cpp behind checked indices, with a real model. The facts of design 2 that the engine builds on."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pensieve_core import ModelDescriptor, Sampling
from pensieve_gguf.llama import (
    Context,
    ContextShape,
    DecodeOutcome,
    LoadError,
    Model,
    Rows,
    Sampler,
    SamplingDefaults,
    version,
)

pytestmark = pytest.mark.model

COUNTING = "1, 2, 3, 4, 5, 6,"
DEFAULTS = SamplingDefaults()
GREEDY = Sampling(temperature=0.0)


@pytest.fixture(scope="module")
def model(smollm2: ModelDescriptor) -> Iterator[Model]:
    model = Model(smollm2.path)
    yield model
    model.close()


@pytest.fixture
def context(model: Model) -> Iterator[Context]:
    context = Context(model, ContextShape(cells=256, sequences=4, batch_tokens=64, threads=1, drafted=8))
    yield context
    context.close()


def tokens(model: Model, text: str) -> array[int]:
    return array("i", model.tokenize(text).tobytes())


def rows(slot: int, start: int, ids: array[int], *, wants_logits: bool = True) -> Rows:
    return Rows(slot=slot, start=start, tokens=ids, wants_logits=wants_logits)


def draw(context: Context, index: int, sampling: Sampling = GREEDY) -> int:
    sampler = Sampler(sampling, DEFAULTS)
    try:
        return context.sample(sampler, index)
    finally:
        sampler.close()


def after(context: Context, *several: Rows) -> list[int]:
    """Decode, and return the likeliest token after each of the rows."""
    outcome, last = context.decode(several)
    assert outcome is DecodeOutcome.DONE
    return [draw(context, index) for index in last]


# -- the model -----------------------------------------------------------------------------------------------------


def test_a_model_tells_its_sizes(model: Model, smollm2: ModelDescriptor) -> None:
    """SmolLM2-135M: 30 layers, 3 KV heads of width 64, keys and values, 2 bytes each."""
    assert model.trained_context == 8_192
    assert model.vocabulary_size == 49_152
    assert model.kv_bytes_per_token == 30 * 3 * 64 * 2 * 2
    assert 0.9 < model.weight_bytes / smollm2.path.stat().st_size < 1.1
    assert model.forgets_partially


def test_a_model_tells_its_words(model: Model) -> None:
    assert model.metadata("general.architecture") == "llama"
    assert model.metadata("no.such.key") is None
    assert model.chat_template is not None
    assert "<|im_start|>" in model.chat_template
    assert model.eos_text == "<|im_end|>"
    assert "llama.cpp" in version()


@given(st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")) | st.sampled_from("éß日本🙂\n\t")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_make_up_the_text_again(model: Model, text: str) -> None:
    """Characters that this vocabulary knows: it lacks the bytes of some others."""
    ids = model.tokenize(text)
    assert b"".join(model._raw_piece(int(token)) for token in ids).decode() == text


def test_a_special_token_is_one_token_and_not_shown(model: Model) -> None:
    (token,) = model.tokenize("<|im_end|>")
    assert model.is_end(int(token))
    assert model.piece(int(token)) == b""


def test_words_that_only_look_like_an_end_are_none(model: Model) -> None:
    assert not any(model.is_end(int(token)) for token in model.tokenize("im_end END </s"))


def test_a_file_that_is_no_model_is_refused_in_the_words_of_llama_cpp(tmp_path: Path) -> None:
    path = tmp_path / "poem.gguf"
    path.write_text("Shall I compare thee to a summer's day?")
    with pytest.raises(LoadError, match="poem"):
        Model(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError):
        Model(tmp_path / "nothing.gguf")


def test_loading_tells_how_far_it_is_and_may_be_given_up(smollm2: ModelDescriptor) -> None:
    told: list[float] = []

    def give_up(done: float) -> bool:
        told.append(done)
        return done < 0.5

    with pytest.raises(LoadError):
        Model(smollm2.path, on_progress=give_up)
    assert told == sorted(told)
    assert 0.5 <= told[-1] < 1.0


def test_a_model_is_closed_once(smollm2: ModelDescriptor) -> None:
    """To free it twice is the end of the process."""
    model = Model(smollm2.path)
    for _ in range(2):
        model.close()
        assert model.handle is None


# -- decoding ------------------------------------------------------------------------------------------------------


def test_a_prompt_in_chunks_leads_to_the_same_token_as_at_once(model: Model, context: Context) -> None:
    ids = tokens(model, COUNTING)
    (at_once,) = after(context, rows(0, 0, ids))
    context.decode([rows(1, 0, ids[:5], wants_logits=False)])
    (in_chunks,) = after(context, rows(1, 5, ids[5:]))
    assert at_once == in_chunks


def test_several_sequences_are_decoded_in_one_batch(model: Model, context: Context) -> None:
    up, down = tokens(model, COUNTING), tokens(model, "20, 19, 18, 17, 16,")
    together = after(context, rows(0, 0, up), rows(1, 0, down))
    alone = [*after(context, rows(2, 0, up)), *after(context, rows(3, 0, down))]
    assert together == alone


def test_after_each_drafted_token_there_is_what_would_follow_it_alone(model: Model, context: Context) -> None:
    known, guessed = tokens(model, COUNTING), tokens(model, " 7, 9, 9")
    beside = tokens(model, "20, 19, 18, 17, 16,")
    drafted = Rows(slot=0, start=0, tokens=known + guessed, wants_logits=True, drafted=len(guessed))
    _, (last, other) = context.decode([drafted, rows(1, 0, beside)])
    together = [draw(context, index) for index in range(last - len(guessed), last + 1)]
    assert other == last + len(beside)
    alone = after(context, rows(2, 0, known))
    for start, token in enumerate(guessed, start=len(known)):
        alone += after(context, rows(2, start, array("i", [token])))
    assert together == alone
    assert together[: len(guessed)] != list(guessed), "a guess was wrong"


def test_as_many_drafts_as_the_shape_says_fit_beside_a_row_of_every_sequence(model: Model, context: Context) -> None:
    """llama.cpp keeps logits for so many rows; one more is a C assert."""
    line = tokens(model, COUNTING * 2)[:9]
    several = [rows(slot, 0, line) for slot in range(1, 4)]
    _, last = context.decode([Rows(slot=0, start=0, tokens=line, wants_logits=True, drafted=8), *several])
    assert len({draw(context, index) for index in last}) == 1


def test_a_shared_prefix_is_as_good_as_a_computed_one(model: Model, context: Context) -> None:
    ids = tokens(model, COUNTING)
    (computed,) = after(context, rows(0, 0, ids))
    context.share(0, 1, len(ids) - 1)
    (shared,) = after(context, rows(1, len(ids) - 1, ids[-1:]))
    assert shared == computed


def test_the_end_of_a_prefix_is_copied_out_and_put_behind_its_beginning(model: Model, context: Context) -> None:
    ids = tokens(model, COUNTING * 2)
    (computed,) = after(context, rows(0, 0, ids))
    last, half = len(ids) - 1, len(ids) // 2
    context.share(0, 2, last, start=half)
    end = context.state(2)
    assert len(end) < 0.6 * len(context.state(0))
    context.share(0, 1, half + 1)
    assert context.cut(0, 0)
    assert context.cut(2, 0)
    assert context.restore(3, end)
    context.share(3, 1, last, start=half + 1)
    assert context.cut(3, 0)
    assert context.holds(1, last)
    assert after(context, rows(1, last, ids[-1:])) == [computed]


def test_shared_cells_stay_while_anyone_holds_them(model: Model, context: Context) -> None:
    ids = tokens(model, COUNTING)
    (computed,) = after(context, rows(0, 0, ids))
    context.share(0, 1, len(ids) - 1)
    assert context.cut(0, 0)
    assert after(context, rows(1, len(ids) - 1, ids[-1:])) == [computed]


def test_what_was_cut_can_be_computed_anew(model: Model, context: Context) -> None:
    ids = tokens(model, COUNTING)
    (once,) = after(context, rows(0, 0, ids))
    context.decode([rows(0, len(ids), tokens(model, " and then a ship came by"))])
    assert context.cut(0, len(ids) - 1)
    assert after(context, rows(0, len(ids) - 1, ids[-1:])) == [once]


def test_a_full_cache_has_no_room_until_something_is_cut(model: Model, context: Context) -> None:
    line = tokens(model, "sea " * 64)[:64]
    for slot in range(4):
        assert context.decode([rows(slot, 0, line)])[0] is DecodeOutcome.DONE
    assert context.decode([rows(0, 64, line[:1])])[0] is DecodeOutcome.NO_ROOM
    assert context.cut(3, 0)
    assert context.decode([rows(0, 64, line[:1])])[0] is DecodeOutcome.DONE


def test_shared_cells_are_counted_once(model: Model, context: Context) -> None:
    """256 cells hold four prompts of 128, of which 120 are the same."""
    line = tokens(model, "sea " * 128)[:120]
    for start in (0, 60):
        context.decode([rows(0, start, line[start : start + 60], wants_logits=False)])
    for slot in range(1, 4):
        context.share(0, slot, 120)
    tails = [rows(slot, 120, tokens(model, f"{slot} birds fly over the sea at night")[:8]) for slot in range(4)]
    assert context.decode(tails)[0] is DecodeOutcome.DONE


def test_a_cleared_cache_holds_nothing(model: Model, context: Context) -> None:
    line = tokens(model, "sea " * 64)[:64]
    for slot in range(4):
        context.decode([rows(slot, 0, line)])
    context.clear()
    assert context.decode([rows(0, 0, line)])[0] is DecodeOutcome.DONE


def test_a_raised_flag_stops_a_decode_and_a_cleared_one_does_not(model: Model, context: Context) -> None:
    ids = tokens(model, COUNTING)
    context.abort.raise_flag()
    assert context.decode([rows(0, 0, ids)])[0] is DecodeOutcome.ABORTED
    context.abort.clear()
    assert context.cut(0, 0)
    (again,) = after(context, rows(0, 0, ids))
    assert after(context, rows(1, 0, ids)) == [again]


def test_a_decode_is_stopped_from_another_thread(model: Model) -> None:
    """A decode of 5.9 s stopped 18 ms after the flag (design 2); here it must stop at all."""
    context = Context(model, ContextShape(cells=2_048, sequences=1, batch_tokens=2_048, threads=1))
    line = tokens(model, "sea " * 2_048)[:2_048]
    timer = threading.Timer(0.05, context.abort.raise_flag)
    timer.start()
    try:
        assert context.decode([rows(0, 0, line)])[0] is DecodeOutcome.ABORTED
    finally:
        timer.join()
        context.close()


def test_forbidden_tokens_are_not_drawn(model: Model, context: Context) -> None:
    _, last = context.decode([rows(0, 0, tokens(model, COUNTING))])
    likeliest = draw(context, last[0])
    context.forbid(last[0], [likeliest])
    assert draw(context, last[0]) != likeliest
    assert draw(context, last[0], Sampling(temperature=1.0, seed=1)) != likeliest


def test_a_batch_is_no_larger_than_the_context(model: Model) -> None:
    """llama.cpp asserts it."""
    context = Context(model, ContextShape(cells=256, sequences=2, batch_tokens=512, threads=1))
    try:
        assert context.batch_tokens == 256
    finally:
        context.close()


def test_a_context_that_cannot_be_had_is_refused(model: Model) -> None:
    with pytest.raises(LoadError):
        Context(model, ContextShape(cells=256, sequences=10_000, batch_tokens=64, threads=1))


def test_a_context_is_closed_once(model: Model) -> None:
    context = Context(model, ContextShape(cells=256, sequences=1, batch_tokens=64, threads=1))
    for _ in range(2):
        context.close()
        assert context._handle is None


# -- what would be a C assert --------------------------------------------------------------------------------------

ONE = array("i", [1])


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param([], id="no rows"),
        pytest.param([rows(0, 0, array("i"))], id="no tokens"),
        pytest.param([rows(-1, 0, ONE)], id="a slot below"),
        pytest.param([rows(4, 0, ONE)], id="a slot beyond"),
        pytest.param([rows(0, -1, ONE)], id="a position below"),
        pytest.param([rows(0, 256, ONE)], id="a position beyond"),
        pytest.param([rows(0, 0, array("i", [1] * 65))], id="too many rows"),
        pytest.param([rows(0, 0, array("i", [1] * 40)), rows(1, 0, array("i", [1] * 40))], id="too many rows together"),
        pytest.param([rows(0, 0, array("i", [-1]))], id="a token below"),
        pytest.param([Rows(slot=0, start=0, tokens=ONE, wants_logits=True, drafted=1)], id="no row before the draft"),
        pytest.param(
            [Rows(slot=0, start=0, tokens=array("i", [1] * 10), wants_logits=True, drafted=9)], id="too many drafts"
        ),
        pytest.param(
            [Rows(slot=slot, start=0, tokens=array("i", [1] * 6), wants_logits=True, drafted=5) for slot in (0, 1)],
            id="too many drafts together",
        ),
        pytest.param([rows(0, 0, array("i", [49_152]))], id="a token beyond"),
    ],
)
def test_an_index_out_of_bounds_is_an_error_and_not_the_end_of_the_process(context: Context, batch: list[Rows]) -> None:
    with pytest.raises(IndexError):
        context.decode(batch)


@pytest.mark.parametrize("slot", [-1, 4])
def test_a_slot_out_of_bounds_is_neither_cut_nor_shared(context: Context, slot: int) -> None:
    """-1 means all sequences to llama.cpp."""
    with pytest.raises(IndexError):
        context.cut(slot, 0)
    with pytest.raises(IndexError):
        context.share(slot, 0, 1)
    with pytest.raises(IndexError):
        context.share(0, slot, 1)


# -- sampling ------------------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_tokens(model: Model, context: Context) -> None:
    _, (index,) = context.decode([rows(0, 0, tokens(model, "Once upon a time there was a"))])

    def drawn(seed: int | None) -> list[int]:
        sampler = Sampler(Sampling(temperature=2.0, top_k=0, top_p=1.0, seed=seed), SamplingDefaults(min_p=0.0))
        try:
            return [context.sample(sampler, index) for _ in range(8)]
        finally:
            sampler.close()

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert drawn(2**32 - 1) == drawn(2**32 - 1), "0xFFFFFFFF is llama.cpp's word for any seed"
    assert drawn(None) != drawn(None)


def test_top_k_of_one_is_greedy(model: Model, context: Context) -> None:
    _, (index,) = context.decode([rows(0, 0, tokens(model, COUNTING))])
    assert draw(context, index, Sampling(temperature=1.0, top_k=1)) == draw(context, index)


def test_defaults_come_from_the_model_where_it_has_any(model: Model) -> None:
    assert SamplingDefaults.of(model) == SamplingDefaults()


def test_a_sampler_is_closed_once() -> None:
    sampler = Sampler(GREEDY, DEFAULTS)
    for _ in range(2):
        sampler.close()
        assert sampler._closed


def test_the_size_of_a_model_is_known_before_its_weights_are_loaded(model: Model) -> None:
    """Asked before it is decided how many layers go onto a GPU; llama.cpp aborts when it is asked itself."""
    header = Model(model.path, vocabulary_only=True)
    assert (header.layers, header.kv_bytes_per_token) == (model.layers, model.kv_bytes_per_token) == (30, 23_040)
    header.close()
