"""Ours: `/engines` on the wire."""

from __future__ import annotations

import json

import pytest
from anthropic.types import ModelInfo as SdkModelInfo

from pensieve_core import EngineResidency, MemoryUse, ModelId, Residency, ResidencyState
from pensieve_inference.testing import make_descriptor
from pensieve_protocol import (
    LoadEngineRequest,
    RequestError,
    dump_json,
    engine_info,
    engine_list,
    local_model,
    model_info,
    parse_load_engine_request,
)

READY = EngineResidency(
    model=ModelId("one"),
    state=ResidencyState.READY,
    memory_bytes=5,
    last_used_at=1_700_000_000.7,
    loaded_at=1_699_999_000.0,
    unloads_at=1_700_000_300.0,
)
ON_GPU = EngineResidency(model=ModelId("two"), state=ResidencyState.READY, memory_bytes=1, gpu_bytes=7)
RESIDENCY = Residency(memory=MemoryUse(budget_bytes=8, used_bytes=5), engines=(READY,))


def test_times_are_rfc_3339() -> None:
    info = engine_info(READY)
    assert info.last_used_at == "2023-11-14T22:13:20Z"
    assert info.loaded_at == "2023-11-14T21:56:40Z"
    assert info.unloads_at == "2023-11-14T22:18:20Z"


def test_what_lies_on_the_gpu_is_told_beside_what_lies_in_ram() -> None:
    memory = MemoryUse(gpu_budget_bytes=9, gpu_used_bytes=7)
    listed = json.loads(dump_json(engine_list(Residency(memory=memory, engines=(ON_GPU,)), [])))
    assert (listed["memory"]["gpu_budget_bytes"], listed["memory"]["gpu_used_bytes"]) == (9, 7)
    assert (listed["engines"][0]["memory_bytes"], listed["engines"][0]["gpu_bytes"]) == (1, 7)


@pytest.mark.parametrize("state", ResidencyState)
def test_each_state_has_its_word(state: ResidencyState) -> None:
    assert engine_info(EngineResidency(model=ModelId("one"), state=state)).state == state.value


def test_the_catalog_comes_first_and_what_has_left_it_is_not_hidden() -> None:
    listed = engine_list(RESIDENCY, [ModelId("zero")])
    assert [(engine.model, engine.state) for engine in listed.engines] == [("zero", "unloaded"), ("one", "ready")]
    assert listed.memory.budget_bytes == 8


def test_an_empty_body_asks_for_nothing_special() -> None:
    assert parse_load_engine_request(b"") == parse_load_engine_request(b"{}") == LoadEngineRequest()
    assert parse_load_engine_request(b'{"pin": true}').pin


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"pin": 1}'])
def test_another_body_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        parse_load_engine_request(body)


def test_the_official_sdk_takes_our_field_along() -> None:
    model = make_descriptor("one")
    wire = dump_json(model_info(model, local=local_model(RESIDENCY, model.id)))
    assert SdkModelInfo.model_validate_json(wire).to_dict()["pensieve"] == {
        "state": "ready",
        "pinned": False,
        "memory_bytes": 5,
    }
    assert "pensieve" not in json.loads(dump_json(model_info(model)))
