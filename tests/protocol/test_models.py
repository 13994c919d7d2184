"""`GET /v1/models`: forms and pages; the SDK's own types are the judge."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from anthropic.types import ModelInfo as SdkModelInfo
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import EngineDescription, ModelCapabilities, ModelDescriptor, ModelId
from pensieve_protocol import (
    ModelInfo,
    OpenAIModelList,
    PageQuery,
    RequestError,
    dump_json,
    model_info,
    openai_model,
    paginate,
    parse_page_query,
)


def descriptor(model_id: str = "qwen", **capabilities: bool) -> ModelDescriptor:
    return ModelDescriptor(
        id=ModelId(model_id),
        display_name="Qwen",
        path=Path("/models/qwen.gguf"),
        source="models folder",
        architecture="qwen2",
        size_bytes=1,
        context_tokens=32_768,
        created_at=1_700_000_000,
        capabilities=ModelCapabilities(**capabilities),
    )


def infos(count: int) -> list[ModelInfo]:
    return [model_info(descriptor(f"m{i}")) for i in range(count)]


def ids(models: tuple[ModelInfo, ...]) -> list[str]:
    return [model.id for model in models]


def test_the_sdk_reads_the_form() -> None:
    parsed = SdkModelInfo.model_validate_json(dump_json(model_info(descriptor(images=True, thinking=True))))
    assert (parsed.id, parsed.display_name, parsed.type, parsed.lifecycle) == ("qwen", "Qwen", "model", "active")
    assert parsed.created_at == dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)
    assert parsed.capabilities is not None
    assert parsed.capabilities.image_input.supported
    assert parsed.capabilities.thinking.types.adaptive.supported
    assert set(parsed.model_dump()) == set(SdkModelInfo.model_fields)


@pytest.mark.parametrize("capable", [True, False])
def test_capabilities_are_those_of_the_model(*, capable: bool) -> None:
    capabilities = model_info(descriptor(images=capable, thinking=capable)).capabilities
    assert capabilities.image_input.supported is capable
    assert capabilities.thinking.supported is capable
    assert capabilities.thinking.types.enabled.supported is capable
    assert capabilities.thinking.types.disabled.supported
    assert capabilities.effort.max.supported is capabilities.effort.supported is capable
    assert capabilities.context_management.clear_tool_uses_20250919.supported
    assert not capabilities.context_management.compact_20260112.supported
    assert not capabilities.pdf_input.supported


def test_a_loaded_model_tells_what_it_turned_out_to_be_able_to() -> None:
    """A projector may turn out to be of no use when it is loaded."""
    loaded = EngineDescription(
        model=descriptor(images=False), engine="e", context_tokens=9, max_sequences=1, threads=1, gpu_layers=0
    )
    assert not model_info(descriptor(images=True), loaded).capabilities.image_input.supported


def test_whether_pdfs_are_read_is_not_the_models_business() -> None:
    assert model_info(descriptor(), reads_pdfs=True).capabilities.pdf_input.supported


def test_a_loaded_model_tells_its_fitted_context() -> None:
    model = descriptor()
    loaded = EngineDescription(
        model=model, engine="e", context_tokens=8192, max_sequences=1, threads=1, gpu_layers=0
    )  # fmt: skip
    assert model_info(model).max_input_tokens == 32_768
    assert model_info(model, loaded).max_input_tokens == model_info(model, loaded).max_tokens == 8192


def test_an_alias_is_listed_under_its_own_name() -> None:
    assert model_info(descriptor(), id="claude-opus-4-8").id == "claude-opus-4-8"
    assert openai_model(descriptor(), id="claude-opus-4-8").id == "claude-opus-4-8"


def test_openais_form() -> None:
    listed = json.loads(dump_json(OpenAIModelList(data=(openai_model(descriptor()),))))
    assert listed == {
        "object": "list",
        "data": [{"id": "qwen", "object": "model", "created": 1_700_000_000, "owned_by": "pensieve"}],
    }


def test_a_page_starts_after_or_ends_before_its_cursor() -> None:
    models = infos(5)
    first = paginate(models, PageQuery(limit=2))
    assert (ids(first.data), first.has_more, first.first_id, first.last_id) == (["m0", "m1"], True, "m0", "m1")
    after = paginate(models, PageQuery(after_id="m2", limit=2))
    assert (ids(after.data), after.has_more) == (["m3", "m4"], False)
    before = paginate(models, PageQuery(before_id="m3", limit=2))
    assert (ids(before.data), before.has_more) == (["m1", "m2"], True)
    start = paginate(models, PageQuery(before_id="m1", limit=2))
    assert (ids(start.data), start.has_more) == (["m0"], False)


def test_an_empty_page_has_no_ids() -> None:
    page = paginate(infos(2), PageQuery(after_id="m1"))
    assert json.loads(dump_json(page)) == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@given(st.integers(0, 12), st.integers(1, 5))
def test_walking_the_pages_visits_every_model_once(count: int, limit: int) -> None:
    models, seen, cursor = infos(count), list[str](), None
    for _ in range(count + 1):
        page = paginate(models, PageQuery(after_id=cursor, limit=limit))
        seen += ids(page.data)
        cursor = page.last_id
        if not page.has_more:
            break
    assert seen == [model.id for model in models]


def test_the_query_is_read_from_strings() -> None:
    assert parse_page_query({}) == PageQuery(limit=20)
    assert parse_page_query({"limit": "1000", "after_id": "m1", "beta": "true"}) == PageQuery(after_id="m1", limit=1000)


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "", "1e3", "ten", "²", "9" * 5000])
def test_a_limit_out_of_range_is_refused(limit: str) -> None:
    with pytest.raises(RequestError, match=r"^limit: must be from 1 to 1000, got"):
        parse_page_query({"limit": limit})


def test_two_cursors_are_refused() -> None:
    with pytest.raises(RequestError, match=r"^before_id: cannot be combined with after_id$"):
        parse_page_query({"after_id": "a", "before_id": "b"})


@pytest.mark.parametrize("cursor", ["after_id", "before_id"])
def test_an_unknown_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(RequestError, match=f"^{cursor}: no model is named 'gone'$"):
        paginate(infos(2), parse_page_query({cursor: "gone"}))
