"""Ours: images through `mtmd`, held against the way that llama.cpp itself takes them; with real words, random eyes."""

from __future__ import annotations

import ctypes
import gc
import math
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_cpp import mtmd_cpp

from pensieve_core import ModelDescriptor
from pensieve_gguf.llama import (
    Context,
    ContextShape,
    DecodeOutcome,
    LoadError,
    Logits,
    Model,
    Pieces,
    ProjectionError,
    Projector,
    Rows,
)

pytestmark = pytest.mark.model

NOISE = 0.6
"""How far logits differ by rounding alone, when batches and cells are others: 0.3 was seen."""
BEFORE, AFTER = "What is in ", " this picture? It is a"


@pytest.fixture(scope="module")
def model(smollm2: ModelDescriptor) -> Iterator[Model]:
    model = Model(smollm2.path)
    yield model
    model.close()


@pytest.fixture(scope="module")
def eyes(model: Model, projector: Path) -> Iterator[Projector]:
    eyes = Projector(projector, model, threads=1, use_gpu=False)
    yield eyes
    eyes.close()


@pytest.fixture
def context(model: Model) -> Iterator[Context]:
    context = Context(model, ContextShape(cells=256, sequences=4, batch_tokens=64, threads=1))
    yield context
    context.close()


def noise(seed: int, width: int = 32, height: int = 32) -> tuple[int, int, bytes]:
    return width, height, np.random.default_rng(seed).integers(0, 256, 3 * width * height, np.uint8).tobytes()


def rows_of(model: Model, eyes: Projector, pieces: Pieces, *, slot: int = 0, step: int = 1_000) -> list[Rows]:
    """Return the prompt BEFORE, image, AFTER, in rows of at most `step` tokens."""
    rows: list[Rows] = []
    position = 0

    def add(tokens: array[int], embeddings: np.ndarray[tuple[int, int], np.dtype[np.float32]] | None = None) -> None:
        nonlocal position
        for at in range(0, len(tokens), step):
            part = None if embeddings is None else embeddings[at : at + step]
            taken = tokens[at : at + step]
            rows.append(Rows(slot=slot, start=position, tokens=taken, wants_logits=False, embeddings=part))
            position += len(taken)

    add(array("i", model.tokenize_plain(BEFORE).tobytes()))
    for index, text in enumerate(pieces.texts):
        if text is None:
            add(array("i", [-1]) * pieces.lengths[index], eyes.embeddings(pieces, index))
        else:
            add(text)
    add(array("i", model.tokenize_plain(AFTER).tobytes()))
    last = rows.pop()
    return [*rows, Rows(slot=slot, start=last.start, tokens=last.tokens, wants_logits=True)]


def computed(context: Context, rows: list[Rows]) -> Logits:
    """Compute `rows`, each in a step of its own, and return the logits after the last."""
    for row in rows:
        outcome, last = context.decode_with_images([row])
        assert outcome is DecodeOutcome.DONE
    return context.logits(last[0]).copy()


def by_llama_cpp(context: Context, eyes: Projector, image: tuple[int, int, bytes]) -> Logits:
    """Compute the same prompt by llama.cpp's own helper."""
    width, height, rgb = image
    marker = mtmd_cpp.mtmd_default_marker()
    prompt = BEFORE.encode() + marker + AFTER.encode()
    text = mtmd_cpp.mtmd_input_text(prompt, len(prompt), *(False, False))
    pixels = np.frombuffer(rgb, np.uint8).ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
    bitmap = mtmd_cpp.mtmd_bitmap_init(width, height, pixels)
    chunks = mtmd_cpp.mtmd_input_chunks_init()
    try:
        bitmaps = (ctypes.c_void_p * 1)(bitmap)
        assert mtmd_cpp.mtmd_tokenize(eyes._handle, chunks, ctypes.byref(text), bitmaps, 1) == 0
        past = ctypes.c_int32(0)
        place = (0, 0, 64, True)  # from position 0 on in slot 0, 64 rows a batch, logits after the last
        code = mtmd_cpp.mtmd_helper_eval_chunks(eyes._handle, context._handle, chunks, *place, ctypes.byref(past))
        assert code == 0
        return context.logits(-1).copy()
    finally:
        mtmd_cpp.mtmd_input_chunks_free(chunks)
        mtmd_cpp.mtmd_bitmap_free(bitmap)


def apart(one: Logits, other: Logits) -> float:
    return float(np.abs(one - other).max())


# -- pieces --------------------------------------------------------------------------------------------------------


def test_an_image_is_pieces_of_text_and_of_itself(model: Model, eyes: Projector) -> None:
    """InternVL: `<img>`, tiles, `</img>`."""
    pieces = eyes.pieces(*noise(1))
    begin, tile, end = pieces.texts
    assert begin is not None
    assert end is not None
    assert tile is None
    said = [b"".join(model.piece(token) for token in text) for text in (begin, end)]
    assert said == [b"<img>", b"</img>"]
    assert pieces.lengths == (len(begin), 4, len(end))


def test_a_wide_image_is_several_tiles(eyes: Projector) -> None:
    assert eyes.pieces(*noise(1, 96, 64)).texts.count(None) == 7


def test_pixels_must_be_as_many_as_they_are_said_to_be(eyes: Projector) -> None:
    """A C function would read on."""
    with pytest.raises(ValueError, match="no image of 32 by 33 pixels"):
        eyes.pieces(32, 33, noise(1)[2])


def test_pieces_are_freed_when_nobody_needs_them(eyes: Projector) -> None:
    freed: list[int] = []

    class Noting:
        def __getattr__(self, name: str) -> Any:
            return getattr(mtmd_cpp, name)

        def mtmd_input_chunks_free(self, chunks: int) -> None:
            freed.append(chunks)
            mtmd_cpp.mtmd_input_chunks_free(chunks)

    other = Projector.__new__(Projector)
    other._lib, other._handle = Noting(), eyes._handle
    pieces = other.pieces(*noise(1))
    handle = pieces.handle
    gc.collect()
    assert freed == []
    del pieces
    gc.collect()
    assert freed == [handle]


@pytest.mark.parametrize("index", [0, 3, -1])
def test_only_parts_of_the_image_have_embeddings(eyes: Projector, index: int) -> None:
    with pytest.raises(IndexError):
        eyes.embeddings(eyes.pieces(*noise(1)), index)


class Refusing:
    """Of `mtmd`, what is asked while an image is computed; it never works."""

    def __getattr__(self, name: str) -> Any:
        return getattr(mtmd_cpp, name)

    def mtmd_tokenize(self, *_: object) -> int:
        return 2

    def mtmd_encode_chunk(self, *_: object) -> int:
        return 1


def test_what_mtmd_refuses_is_an_error(eyes: Projector) -> None:
    pieces = eyes.pieces(*noise(1))
    other = Projector.__new__(Projector)
    other._lib, other._handle = Refusing(), eyes._handle
    with pytest.raises(ProjectionError):
        other.pieces(*noise(1))
    with pytest.raises(ProjectionError):
        other.embeddings(pieces, 1)


@pytest.mark.parametrize("width", [64, None], ids=["another model's", "no GGUF"])
def test_a_file_that_does_not_fit_is_refused(
    model: Model, make_projector: Callable[..., Path], tmp_path: Path, width: int | None
) -> None:
    path = tmp_path / "mmproj.gguf"
    if width is None:
        path.write_bytes(bytes(100))
    else:
        make_projector(path, width=width)
    with pytest.raises(LoadError):
        Projector(path, model, threads=1, use_gpu=False)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ((False, False, False), "no embeddings of images"),
        ((True, True, False), "M-RoPE"),
        ((True, False, True), "from all its sides"),
    ],
)
def test_a_model_that_wants_what_is_not_done_here_says_so(
    eyes: Projector, answers: tuple[bool, bool, bool], said: str
) -> None:
    sees, in_two_dimensions, at_once = answers

    class Answers:
        def mtmd_support_vision(self, _: object) -> bool:
            return sees

        def mtmd_decode_use_mrope(self, _: object) -> bool:
            return in_two_dimensions

        def mtmd_decode_use_non_causal(self, _: object, __: object) -> bool:
            return at_once

    other = Projector.__new__(Projector)
    other._lib, other._handle = Answers(), eyes._handle
    assert said in (other._problem() or "")


# -- decoding ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 32), (96, 64)], ids=["one tile", "seven"])
def test_an_image_is_computed_as_llama_cpp_computes_it(
    model: Model, context: Context, eyes: Projector, size: tuple[int, int]
) -> None:
    image = noise(3, *size)
    expected = by_llama_cpp(context, eyes, image)
    context.clear()
    ours = computed(context, rows_of(model, eyes, eyes.pieces(*image)))
    assert apart(ours, expected) < NOISE
    assert ours.argmax() == expected.argmax() or math.isclose(ours.max(), expected.max(), abs_tol=NOISE)


def test_images_may_be_cut_anywhere(model: Model, context: Context, eyes: Projector) -> None:
    pieces = eyes.pieces(*noise(4))
    whole = computed(context, rows_of(model, eyes, pieces, slot=0))
    cut = computed(context, rows_of(model, eyes, pieces, slot=1, step=3))
    assert apart(whole, cut) < NOISE


def test_another_image_is_something_else(model: Model, context: Context, eyes: Projector) -> None:
    one, other = (computed(context, rows_of(model, eyes, eyes.pieces(*noise(seed)), slot=seed)) for seed in (1, 2))
    assert apart(one, other) > 2 * NOISE


def test_an_image_and_the_text_of_others_share_a_step(model: Model, context: Context, eyes: Projector) -> None:
    pieces = eyes.pieces(*noise(4))
    alone = computed(context, rows_of(model, eyes, pieces, slot=0))
    counting = array("i", model.tokenize_plain("1, 2, 3, 4, 5,").tobytes())
    outcome, last = context.decode([Rows(slot=3, start=0, tokens=counting, wants_logits=True)])
    assert outcome is DecodeOutcome.DONE
    expected = context.logits(last[0]).copy()
    *before, final = rows_of(model, eyes, pieces, slot=1)
    picture = next(index for index, row in enumerate(before) if row.embeddings is not None)
    for row in before[:picture]:
        context.decode([row])
    beside = Rows(slot=2, start=0, tokens=counting, wants_logits=True)
    outcome, indices = context.decode_with_images([before[picture], beside])
    assert outcome is DecodeOutcome.DONE
    assert apart(context.logits(indices[1]), expected) < NOISE
    assert apart(computed(context, [*before[picture + 1 :], final]), alone) < NOISE


def test_a_step_without_room_leaves_no_part_of_an_image(model: Model, eyes: Projector) -> None:
    """Or the next try would compute it upon itself."""
    context = Context(model, ContextShape(cells=256, sequences=2, batch_tokens=256, threads=1))
    try:
        counting = array("i", model.tokenize_plain("1, 2, 3, " * 100).tobytes())[:250]
        pieces = eyes.pieces(*noise(4))
        image = Rows(
            slot=1, start=0, tokens=array("i", [-1] * 4), wants_logits=False, embeddings=eyes.embeddings(pieces, 1)
        )
        text = Rows(slot=0, start=0, tokens=counting, wants_logits=True)
        context.decode([Rows(slot=0, start=0, tokens=counting[:200], wants_logits=False)])
        assert context.decode_with_images([image, attrs_after(text, 200)])[0] is DecodeOutcome.DONE
        context.cut(1, 0)
        full = Rows(slot=0, start=250, tokens=counting[:5], wants_logits=True)
        assert context.decode_with_images([image, full])[0] is DecodeOutcome.NO_ROOM
        assert context.holds(1, 0)
        assert context.decode([full])[0] is DecodeOutcome.DONE
        assert context.decode_with_images([image])[0] is DecodeOutcome.NO_ROOM
        assert context.holds(1, 0)
    finally:
        context.close()


def attrs_after(row: Rows, start: int) -> Rows:
    return Rows(slot=row.slot, start=start, tokens=row.tokens[start:], wants_logits=row.wants_logits)


def test_embeddings_must_be_as_many_as_their_tokens(context: Context, eyes: Projector) -> None:
    four = eyes.embeddings(eyes.pieces(*noise(4)), 1)
    for embeddings in (four[:3], four[:, ::-1]):
        row = Rows(slot=0, start=0, tokens=array("i", [-1] * 4), wants_logits=False, embeddings=embeddings)
        with pytest.raises(IndexError):
            context.decode_with_images([row])
    outside = Rows(slot=9, start=0, tokens=array("i", [-1] * 4), wants_logits=False, embeddings=four)
    with pytest.raises(IndexError):
        context.decode_with_images([outside])
