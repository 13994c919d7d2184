"""Ours: what supervisor and worker say arrives as it was said."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import get_args

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pensieve_core import (
    AgentId,
    AnswerProgressed,
    DraftModel,
    EngineDescription,
    EngineFailedError,
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    ImagePart,
    LoraAdapter,
    ModelBrokenError,
    ModelCapabilities,
    ModelDescriptor,
    ModelId,
    Origin,
    OverloadedError,
    PensieveError,
    PrefillProgressed,
    Priority,
    PromptTooLongError,
    PromptUsage,
    QuarantinedError,
    RequestId,
    RequestRefusedError,
    Role,
    Sampling,
    SessionId,
    TextPart,
    TextProduced,
    Thinking,
    ThinkingPart,
    ThinkingProduced,
    Timings,
    Tool,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    ToolChoice,
    ToolChoiceMode,
    ToolReferencePart,
    ToolResultPart,
    Turn,
    Usage,
)
from pensieve_gguf.footprint import Footprint
from pensieve_gguf.settings import GgufSettings, KvType
from pensieve_gguf.worker.messages import (
    Admitted,
    Alive,
    Cancel,
    Count,
    Counted,
    Event,
    Failed,
    Farewell,
    FromWorker,
    Generate,
    Load,
    Loaded,
    LoadFailed,
    Loading,
    MessageError,
    ToWorker,
    decode_from_worker,
    decode_to_worker,
    encode,
    failure,
)

counts = st.integers(0, 2**40)
seconds = st.floats(0, 1e9)
texts = st.text(max_size=20)
flags = st.booleans()
json_values = st.recursive(
    st.none() | flags | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(texts, json_values, max_size=3)

text_parts = st.builds(TextPart, text=texts, cache_mark=flags)
image_parts = st.builds(ImagePart, media_type=texts, data=st.binary(max_size=20), cache_mark=flags)
reference_parts = st.builds(ToolReferencePart, name=texts, cache_mark=flags)
parts = st.one_of(
    text_parts,
    image_parts,
    reference_parts,
    st.builds(ThinkingPart, text=texts, signature=texts),
    st.builds(ToolCallPart, id=texts.map(ToolCallId), name=texts, arguments=json_objects, cache_mark=flags),
    st.builds(
        ToolResultPart,
        call_id=texts.map(ToolCallId),
        content=st.lists(text_parts | image_parts | reference_parts, max_size=2).map(tuple),
        is_error=flags,
        cache_mark=flags,
    ),
)
turns = st.builds(Turn, role=st.sampled_from(Role), parts=st.lists(parts, max_size=3).map(tuple))
tools = st.builds(
    Tool, name=texts, description=texts, parameters=json_objects, strict=flags, cache_mark=flags, deferred=flags
)
requests = st.builds(
    GenerationRequest,
    id=texts.map(RequestId),
    model=texts.map(ModelId),
    turns=st.lists(turns, max_size=3).map(tuple),
    tools=st.lists(tools, max_size=2).map(tuple),
    tool_choice=st.builds(ToolChoice, mode=st.sampled_from(ToolChoiceMode), name=st.none() | texts, parallel=flags),
    sampling=st.builds(
        Sampling,
        temperature=st.none() | st.floats(0, 2),
        top_p=st.none() | st.floats(0, 1),
        top_k=st.none() | counts,
        seed=st.none() | counts,
    ),
    thinking=st.builds(Thinking, enabled=flags, budget_tokens=st.none() | counts),
    max_tokens=counts,
    stop_sequences=st.lists(texts, max_size=3).map(tuple),
    output_schema=st.none() | json_objects,
    origin=st.builds(
        Origin,
        session=st.none() | texts.map(SessionId),
        agent=st.none() | texts.map(AgentId),
        parent=st.none() | texts.map(AgentId),
        priority=st.sampled_from(Priority),
    ),
)
paths = st.sampled_from([Path("/models/a b.gguf"), Path("ä.gguf")])
descriptors = st.builds(
    ModelDescriptor,
    id=texts.map(ModelId),
    display_name=texts,
    path=paths,
    source=texts,
    architecture=texts,
    size_bytes=counts,
    context_tokens=counts,
    created_at=counts,
    parameters=st.none() | counts,
    quantization=st.none() | texts,
    capabilities=st.builds(ModelCapabilities, tool_template=flags, thinking=flags, images=flags),
    projector=st.none() | paths,
    adapters=st.lists(st.builds(LoraAdapter, name=texts, path=paths, size_bytes=counts), max_size=2).map(tuple),
    draft=st.none()
    | st.builds(
        DraftModel, id=texts.map(ModelId), path=paths, size_bytes=counts, parameters=counts, named=st.booleans()
    ),
    shards=st.lists(paths, max_size=2).map(tuple),
)
descriptions = st.builds(
    EngineDescription,
    model=descriptors,
    engine=texts,
    context_tokens=counts,
    max_sequences=counts,
    threads=counts,
    gpu_layers=st.integers(-1, 100),
    notes=st.lists(texts, max_size=2).map(tuple),
)
settings = st.builds(
    GgufSettings,
    context_tokens=st.none() | st.integers(1, 1 << 40),
    threads=st.none() | st.integers(1, 1_000),
    gpu_layers=st.none() | counts,
    kv_type=st.sampled_from(["f16", "q8_0"]),
    drafts=st.booleans(),
    stretch=st.floats(1.001, 100),
)
usages = st.builds(
    Usage,
    prompt_tokens=counts,
    cached_tokens=counts,
    cache_created_tokens=counts,
    generated_tokens=counts,
    thinking_tokens=counts,
)
timings = st.builds(
    Timings, queue_s=seconds, prefill_s=seconds, decode_s=seconds, decode_steps=counts, prefilled_tokens=counts
)
events: st.SearchStrategy[GenerationEvent] = st.one_of(
    st.builds(PrefillProgressed, processed_tokens=counts, total_tokens=counts),
    st.builds(AnswerProgressed, generated_tokens=counts),
    st.builds(TextProduced, text=texts),
    st.builds(ThinkingProduced, text=texts),
    st.builds(ToolCallStarted, id=texts.map(ToolCallId), name=texts),
    st.builds(ToolCallArguments, fragment=texts),
    st.builds(
        GenerationFinished,
        reason=st.sampled_from(FinishReason),
        stop_sequence=st.none() | texts,
        usage=usages,
        timings=timings,
    ),
)
to_worker: st.SearchStrategy[ToWorker] = st.one_of(
    st.builds(Load, model=descriptors, settings=settings),
    st.builds(Generate, key=counts, request=requests),
    st.builds(Count, key=counts, request=requests),
    st.builds(Cancel, key=counts),
    st.builds(Farewell, save_s=st.floats(0, 100)),
)
from_worker: st.SearchStrategy[FromWorker] = st.one_of(
    st.builds(Loading, progress=st.floats(0, 1)),
    st.builds(Loaded, description=descriptions, kv_type=st.sampled_from(get_args(KvType))),
    st.builds(LoadFailed, reason=texts, needs=st.none() | st.builds(Footprint, ram=counts, gpu=counts)),
    st.builds(Admitted, key=counts, prompt=st.builds(PromptUsage, prompt_tokens=counts, cached_tokens=counts)),
    st.builds(Event, key=counts, event=events),
    st.builds(Counted, key=counts, tokens=counts),
    st.builds(Failed, key=counts, error=st.sampled_from(["refused", "engine_failed"]), message=texts),
    st.builds(Alive, decodes=counts, decoding_for_s=seconds),
)


@given(to_worker)
def test_what_a_supervisor_says_arrives_as_it_was_said(message: ToWorker) -> None:
    assert decode_to_worker(encode(message)) == message


@given(from_worker)
def test_what_a_worker_says_arrives_as_it_was_said(message: FromWorker) -> None:
    assert decode_from_worker(encode(message)) == message


@pytest.mark.parametrize(
    "error",
    [
        PromptTooLongError(20_000, 16_384),
        RequestRefusedError("this model sees no images"),
        OverloadedError("the queue is full", retry_after_s=17),
        EngineFailedError("llama_decode answered -3"),
    ],
)
def test_an_error_arrives_as_it_was_raised(error: PensieveError) -> None:
    message = decode_from_worker(encode(failure(7, error)))
    assert isinstance(message, Failed)
    arrived = message.exception()
    assert message.key == 7
    assert type(arrived) is type(error)
    assert vars(arrived) == vars(error)


@pytest.mark.parametrize(
    ("error", "arrives_as"),
    [(QuarantinedError(2), RequestRefusedError), (ModelBrokenError(ModelId("m"), "why"), EngineFailedError)],
)
def test_an_error_that_no_worker_raises_arrives_as_the_nearest_of_those_it_does(
    error: PensieveError, arrives_as: type[PensieveError]
) -> None:
    arrived = failure(1, error).exception()
    assert type(arrived) is arrives_as
    assert arrived.message == error.message


def test_a_request_is_json_that_says_what_it_is() -> None:
    """Never pickle (design 5)."""
    assert encode(Cancel(key=3)) == b'{"kind":"cancel","key":3}'


@given(
    st.one_of(
        st.binary(max_size=30),
        json_values.map(orjson.dumps),
        st.dictionaries(st.sampled_from(["kind", "key", "request", "event", "tokens"]), json_values).map(orjson.dumps),
        st.sampled_from(["load", "generate", "event", "failed", "no_such_kind"]).map(
            lambda kind: orjson.dumps({"kind": kind, "key": "?", "request": 7})
        ),
    )
)
@example(b"[" * 2_000)
@example(b'{"kind": "cancel", "key": "many"}')
@example(b'{"kind": "event", "key": 1, "event": {"type": "text_produced"}}')
def test_nonsense_is_refused_in_one_way(payload: bytes) -> None:
    for decode in (decode_to_worker, decode_from_worker):
        with contextlib.suppress(MessageError):
            assert orjson.loads(encode(decode(payload)))
