"""Ours: a model that sees, with real weights for its words and random ones for its eyes.

No small projector is published where tests may fetch it, so what the model makes of an image means nothing here; that
it is computed once, at its place, and told apart from others does. Counters before seconds (design 2).
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from PIL import Image

from pensieve_core import (
    GenerationRequest,
    ImagePart,
    ModelDescriptor,
    Part,
    RequestRefusedError,
    Role,
    TextPart,
    ToolCallId,
    ToolCallPart,
    ToolResultPart,
    Turn,
)
from pensieve_gguf import GgufSettings
from pensieve_gguf.engine import GgufEngine
from pensieve_gguf.worker import SupervisedEngine
from pensieve_inference import InferenceEngine, SystemClock

pytestmark = pytest.mark.model

PLACE = "messages.0.content.1.source.data"
WHAT = TextPart(text="What is in this picture?")
TILE = 4
"""Embeddings of an image that is one tile."""


def png(seed: int, *, width: int = 32, height: int = 32) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def image(seed: int, **size: int) -> ImagePart:
    return ImagePart(media_type="image/png", data=png(seed, **size), place=PLACE)


@pytest.fixture(scope="module")
def sighted(smollm2: ModelDescriptor, projector: Path) -> ModelDescriptor:
    return attrs.evolve(smollm2, projector=projector)


@contextlib.asynccontextmanager
async def opened(model: ModelDescriptor, **knobs: Any) -> AsyncIterator[GgufEngine]:
    settings = attrs.evolve(GgufSettings(context_tokens=1_024, threads=1), **knobs)
    engine = GgufEngine.load(model, settings, SystemClock())
    try:
        yield engine
    finally:
        async with asyncio.timeout(30):
            await engine.aclose()


Ask = Callable[..., GenerationRequest]


@pytest.fixture
def asking(client: Any) -> Callable[..., GenerationRequest]:
    """Return a builder of requests; each argument is what the user or, every second one, the model said."""

    def build(*turns: tuple[Part, ...], **knobs: Any) -> GenerationRequest:
        said = tuple(Turn(role=(Role.USER, Role.ASSISTANT)[i % 2], parts=parts) for i, parts in enumerate(turns))
        plain: GenerationRequest = client.request("", **knobs)
        return attrs.evolve(plain, turns=said)

    return build


@pytest.fixture
def counting(asking: Ask) -> Ask:
    """Return a builder of requests that show an image and whose greedy answer no rounding can change."""

    def build(seed: int, start: int, *, max_tokens: int = 12, **size: int) -> GenerationRequest:
        begun = "".join(f"{number}, " for number in range(start - 6, start)).rstrip()
        said = (TextPart(text="A picture:"), image(seed, **size), TextPart(text="Count in digits."))
        return asking(said, (TextPart(text=begun),), max_tokens=max_tokens)

    return build


async def test_the_same_image_is_computed_once_and_another_one_is_told_apart(
    sighted: ModelDescriptor, client: Any, asking: Ask
) -> None:
    async with opened(sighted) as engine:
        first, again, other = [await client.ask(engine, asking((WHAT, image(seed)))) for seed in (1, 1, 2)]
        prompt = first.finish.usage.prompt_tokens
        assert first.finish.usage.cached_tokens == 0
        assert again.finish.usage.cached_tokens == prompt - 1
        assert other.finish.usage.prompt_tokens == prompt
        assert other.finish.usage.cached_tokens < prompt - TILE, "nothing of the other image may be taken for this one"


async def test_the_next_turn_computes_only_what_is_new(sighted: ModelDescriptor, client: Any, asking: Ask) -> None:
    """An own turn is repeated as it was sampled, though there is an image before it."""
    async with opened(sighted) as engine:
        first = await client.ask(engine, asking((WHAT, image(1)), max_tokens=8))
        answer = (TextPart(text=first.text),)
        second = await client.ask(engine, asking((WHAT, image(1)), answer, (TextPart(text="Why?"),)))
        known = first.finish.usage.prompt_tokens + first.finish.usage.generated_tokens
        assert second.finish.usage.cached_tokens >= known - 1
        assert second.finish.timings.prefilled_tokens < 16


@pytest.mark.parametrize("size", [{}, {"width": 96, "height": 64}], ids=["one tile", "seven"])
async def test_an_image_is_counted_as_it_is_charged(
    sighted: ModelDescriptor, client: Any, asking: Ask, size: dict[str, int]
) -> None:
    async with opened(sighted) as engine:
        request = asking((WHAT, image(3, **size)))
        counted = await engine.count_tokens(request)
        without = await engine.count_tokens(asking((WHAT,)))
        answer = await client.ask(engine, request)
        assert counted == answer.finish.usage.prompt_tokens
        assert counted >= without + TILE * (7 if size else 1)
        assert engine.vitals.tokens_prefilled == counted


async def test_greedy_answers_do_not_depend_on_the_cache_or_the_batch(
    sighted: ModelDescriptor, client: Any, counting: Ask
) -> None:
    """With a batch of 16, text and image are cut into many steps; with another prompt before, cells lie elsewhere."""
    request = counting(5, 31, width=96, height=64)
    async with opened(sighted) as fresh:
        expected = await client.ask(fresh, request)
        assert "31, 32, 33" in expected.text
        assert (await client.ask(fresh, request)).text == expected.text
    async with opened(sighted, batch_tokens=16) as small:
        await client.ask(small, counting(6, 51))
        assert (await client.ask(small, request)).text == expected.text


async def test_images_are_computed_beside_the_answers_of_others(
    sighted: ModelDescriptor, client: Any, counting: Ask
) -> None:
    async with opened(sighted) as engine, client.open(engine, client.counting(31, max_tokens=200)) as talking:
        await client.first_text(talking)
        beside = await client.ask(engine, counting(1, 61))
        told = await client.rest(talking)
        assert "61, 62, 63" in beside.text
        assert "40, 41, 42" in told.text


async def test_an_image_in_a_tools_result_is_seen(sighted: ModelDescriptor, client: Any, asking: Ask) -> None:
    call = ToolCallPart(id=ToolCallId("toolu_1"), name="Read", arguments={"path": "a.png"})

    def read(content: tuple[TextPart | ImagePart, ...]) -> GenerationRequest:
        result = ToolResultPart(call_id=ToolCallId("toolu_1"), content=content)
        request: GenerationRequest = asking((WHAT,), (call,), (result,))
        return request

    async with opened(sighted) as engine:
        blank, seen = [await engine.count_tokens(read(content)) for content in ((), (image(1),))]
        assert seen >= blank + TILE
        answers = [await client.ask(engine, read((image(seed),))) for seed in (1, 2, 1)]
        first, other, again = (answer.finish.usage for answer in answers)
        assert other.cached_tokens < first.prompt_tokens - TILE
        assert again.cached_tokens == first.prompt_tokens - 1


@pytest.mark.parametrize("ram", [0, 1 << 30], ids=["computed again", "from RAM"])
async def test_what_has_left_the_cache_comes_back_with_its_image(
    sighted: ModelDescriptor, client: Any, asking: Ask, counting: Ask, ram: int
) -> None:
    async with opened(sighted, context_tokens=256, cells=256, cache_ram_bytes=ram) as engine:
        first = await client.ask(engine, counting(1, 31))
        for seed in range(2, 8):
            await client.ask(engine, asking((TextPart(text=f"Number {seed}. " * 20), image(seed)), max_tokens=2))
        assert engine.vitals.evictions > 0
        again = await client.ask(engine, counting(1, 31))
        assert again.text == first.text
        assert bool(engine.vitals.restored) is bool(ram)
        assert engine.vitals.astray == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [(png(1)[:200], "Could not process image"), (b"no image", "Could not process image")],
    ids=["cut", "no image"],
)
async def test_a_broken_image_is_refused_with_its_place_and_the_engine_goes_on(
    sighted: ModelDescriptor, client: Any, asking: Ask, data: bytes, said: str
) -> None:
    async with opened(sighted) as engine:
        broken = ImagePart(media_type="image/png", data=data, place=PLACE)
        for ask in (engine.generate, engine.count_tokens):
            with pytest.raises(RequestRefusedError, match=f"^{PLACE}: {said}"):
                await ask(asking((WHAT, broken)))
        assert (await client.ask(engine, asking((WHAT, image(1))))).text


async def test_a_model_without_a_projector_says_so(smollm2: ModelDescriptor, client: Any, asking: Ask) -> None:
    async with opened(smollm2) as engine:
        assert not engine.description.model.capabilities.images
        with pytest.raises(RequestRefusedError, match=f"^{PLACE}: Could not process image: this model cannot see"):
            await engine.generate(asking((WHAT, image(1))))


@pytest.mark.parametrize("width", [64, None], ids=["of another model", "no projector"])
async def test_a_projector_that_is_of_no_use_leaves_a_model_that_talks(
    smollm2: ModelDescriptor, client: Any, make_projector: Callable[..., Path], tmp_path: Path, width: int | None
) -> None:
    path = tmp_path / "mmproj.gguf"
    if width is None:
        path.write_bytes(b"GGUF" + bytes(100))
    else:
        make_projector(path, width=width)
    claims = attrs.evolve(smollm2.capabilities, images=True)
    async with opened(attrs.evolve(smollm2, projector=path, capabilities=claims)) as engine:
        assert not engine.description.model.capabilities.images
        assert "Images are refused, for mmproj.gguf is of no use" in engine.description.notes[-1]
        assert (await client.ask(engine, client.request("Hello"))).text


async def test_images_pass_through_the_worker(
    sighted: ModelDescriptor, client: Any, counting: Ask, open_supervised: Callable[..., SupervisedEngine]
) -> None:
    supervised: InferenceEngine = open_supervised(sighted)
    try:
        assert isinstance(supervised, SupervisedEngine)
        await supervised.start()
        assert supervised.description.model.capabilities.images
        first, again, other = [await client.ask(supervised, counting(seed, 31)) for seed in (1, 1, 2)]
        assert first.text == again.text
        prompt = first.finish.usage.prompt_tokens
        assert again.finish.usage.cached_tokens == prompt - 1
        assert other.finish.usage.cached_tokens < prompt - TILE
    finally:
        await supervised.aclose()


async def test_prompts_with_images_are_kept_on_the_disk_for_the_same_eyes_only(
    sighted: ModelDescriptor, client: Any, asking: Ask, make_projector: Callable[..., Path], tmp_path: Path
) -> None:
    """Other weights would have seen something else."""
    long = TextPart(text="Look closely at what is to be seen here. " * 40)

    def question(text: str) -> GenerationRequest:
        return asking((long, image(1), long, TextPart(text=text)), max_tokens=2)

    async with opened(sighted, cache_folder=tmp_path) as engine:
        for text in ("What is it?", "Who is it?"):  # what both share is a head, and kept at once
            await client.ask(engine, question(text))
        await saved(engine)
    async with opened(sighted, cache_folder=tmp_path) as engine:
        usage = (await client.ask(engine, question("Where is it?"))).finish.usage
        assert engine.vitals.anchors_read == 1
        assert usage.cached_tokens > usage.prompt_tokens - 32, "the image is in what was kept"
    others = attrs.evolve(sighted, projector=make_projector(tmp_path / "mmproj.gguf", width=576, seed=8))
    async with opened(others, cache_folder=tmp_path) as engine:
        assert (await client.ask(engine, question("Where is it?"))).finish.usage.cached_tokens == 0


async def saved(engine: GgufEngine) -> None:
    """Wait until a prefix was handed over, and is written."""
    assert engine._anchors is not None
    async with asyncio.timeout(30):
        while not engine.vitals.anchors_saved:  # noqa: ASYNC110 - the engine thread tells nobody
            await asyncio.sleep(0.01)
    assert await asyncio.to_thread(engine._anchors.flush, 30)
