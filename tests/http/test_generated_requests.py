"""Requests made by schemathesis from `/openapi.json`, to the application over a scripted engine.

Whatever is sent, well-formed or not: no 5xx, no status that is not described, every answer as its schema says, nothing
accepted that the schema forbids. A few hundred requests in `make test`, 2,000 in `make fuzz`.
"""

from __future__ import annotations

import collections
import os
from typing import Any

import orjson
import pytest
import schemathesis
import schemathesis.openapi
import structlog
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, CheckFunction, DeserializationContext, GenerationMode, Response
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from structlog.typing import FilteringBoundLogger

from pensieve_core import ModelDescriptor
from pensieve_http import HttpSettings, create_app
from pensieve_http.storage import BatchStore, Database, Storage
from pensieve_inference import SystemClock
from pensieve_inference.testing import (
    InMemoryCatalog,
    InMemoryFileStore,
    ScriptedEngine,
    ScriptedProvider,
    call,
    say,
    think,
)

CASES = int(os.environ.get("PENSIEVE_GENERATED_REQUESTS", "200"))
LEFT_OUT: dict[GenerationMode, list[CheckFunction]] = {
    GenerationMode.POSITIVE: [positive_data_acceptance, negative_data_rejection],
    GenerationMode.NEGATIVE: [],
}
"""No schema can say that a tool choice names one of the tools. All other checks of schemathesis are held."""

_LONGEST_INTEGER = 63


class AnyNameCatalog(InMemoryCatalog):
    """Knows every name that begins with a vowel, so that there are 404s as well as answers."""

    def resolve(self, name: str) -> ModelDescriptor:
        return super().resolve(f"claude-{name}" if name[:1].lower() not in "aeiou" else name)


def _quiet() -> FilteringBoundLogger:
    log: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(), wrapper_class=structlog.make_filtering_bound_logger(50)
    )
    return log


@schemathesis.deserializer("text/event-stream")
def read_events(_context: DeserializationContext, response: Response) -> list[Any]:
    data = [line.removeprefix(b"data: ") for line in response.content.splitlines() if line.startswith(b"data: ")]
    return [orjson.loads(item) for item in data if item != b"[DONE]"]


APP = create_app(
    catalog=AnyNameCatalog(),
    engines=ScriptedProvider(ScriptedEngine([*think("Hm."), *say("Here you are"), *call("f", {"x": 1})])),
    settings=HttpSettings(allowed_hosts=("testserver",)),
    clock=SystemClock(),
    storage=Storage(
        files=InMemoryFileStore(clock=SystemClock()),
        batches=BatchStore(Database(None), SystemClock(), limits=HttpSettings().batch_limits),
    ),
    log=_quiet(),
)
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP)
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)}
WIDE = [label for label, operation in OPERATIONS.items() if operation.body or list(operation.iter_parameters())]
"""Operations that can be asked in more than one way."""
WAYS = [
    pytest.param(label, mode, id=f"{label}-{mode.value}")
    for mode in GenerationMode
    for label in WIDE
    if mode is GenerationMode.POSITIVE or OPERATIONS[label].body or OPERATIONS[label].query or OPERATIONS[label].headers
]
"""No path is malformed: where there is nothing else, nothing can be."""
EACH = max(-(-CASES // (2 * len(WIDE))), 3)
ENOUGH = 30
"""So many well-formed requests cannot all be refused."""


def _readable(value: Any) -> Any:
    """Return a body whose integers fit into 64 bits: all JSON here must, and a schema cannot say so of free objects."""
    match value:
        case dict():
            return {name: _readable(inner) for name, inner in value.items()}
        case list():
            return [_readable(inner) for inner in value]
        case bool():
            return value
        case int() | float() if abs(value) >= 2**_LONGEST_INTEGER:
            return 1
        case _:
            return value


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("label", "mode"), WAYS)
def test_a_generated_request_is_answered_as_described(label: str, mode: GenerationMode) -> None:
    statuses: collections.Counter[int] = collections.Counter()
    operation = OPERATIONS[label]

    @settings(
        max_examples=EACH,
        deadline=None,
        derandomize="PENSIEVE_GENERATED_REQUESTS" not in os.environ,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def play(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            case.body = _readable(case.body)
        response = case.call()
        statuses[response.status_code] += 1
        case.validate_response(response, excluded_checks=LEFT_OUT[mode])

    play()
    assert max(statuses) < 500
    if mode is GenerationMode.POSITIVE and EACH >= ENOUGH and not list(operation.path_parameters):
        assert min(statuses) == 200, "no well-formed request got through to an answer"


@pytest.mark.parametrize("label", [label for label in OPERATIONS if label not in WIDE])
def test_an_endpoint_without_parameters_answers_as_described(label: str) -> None:
    case = OPERATIONS[label].Case()
    response = case.call()
    assert response.status_code == 200
    case.validate_response(response)


def test_the_checks_see_an_answer_that_is_not_as_described() -> None:
    """A suite that cannot fail proves nothing."""
    operation = OPERATIONS["GET /healthz"]
    other = OPERATIONS["GET /version"].Case().call()
    with pytest.raises(BaseException, match="status"):
        operation.Case().validate_response(other)
