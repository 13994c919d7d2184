"""The contract of providers: the fake keeps it, and an implementation that breaks a promise is caught by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pensieve_core import EngineDescription, EngineStatus, ModelDescriptor, ModelId
from pensieve_inference import EngineProvider, InferenceEngine
from pensieve_inference.testing import ScriptedEngine, ScriptedProvider, make_descriptor
from pensieve_inference.testing.contract import (
    PROVIDER_CHECKS,
    ContractBrokenError,
    ProviderCase,
    ProviderCheck,
    RequestFactory,
    check_name,
)

MODEL = make_descriptor()


def case_of(make: Callable[[], EngineProvider], request_for: RequestFactory, patience_s: float = 30.0) -> ProviderCase:
    async def open_provider() -> EngineProvider:
        return make()

    def loads(provider: EngineProvider) -> int:
        return provider.made if isinstance(provider, Wasteful) else 1

    return ProviderCase(
        open_provider=open_provider, model=MODEL, request=request_for, patience_s=patience_s, loads=loads
    )


@pytest.mark.parametrize("check", PROVIDER_CHECKS, ids=check_name)
async def test_the_scripted_provider_keeps_the_provider_contract(
    check: ProviderCheck, request_for: RequestFactory
) -> None:
    await check(case_of(ScriptedProvider, request_for))


class Wasteful(ScriptedProvider):
    made = 0

    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        self.made += 1
        return await super().engine(model)


class Fickle(ScriptedProvider):
    made = 0

    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        self.made += 1
        return ScriptedEngine(max_running=self.made)


class Forgetful(ScriptedProvider):
    def loaded(self, model: ModelId) -> EngineDescription | None:
        return None


class Boastful(ScriptedProvider):
    def loaded(self, model: ModelId) -> EngineDescription | None:
        return self._engine.description


class Silent(ScriptedProvider):
    def statuses(self) -> tuple[EngineStatus, ...]:
        return ()


class Open(ScriptedProvider):
    async def aclose(self) -> None:
        pass


class Careless(ScriptedProvider):
    async def aclose(self) -> None:
        self.closed = True


class Stuck(ScriptedProvider):
    """Whoever leaves while it loads takes the load along."""

    def __init__(self) -> None:
        super().__init__()
        self._free = True

    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        while not self._free:  # noqa: ASYNC110 - stuck
            await asyncio.sleep(0.001)
        self._free = False
        await asyncio.sleep(0)
        self._free = True
        return await super().engine(model)


@pytest.mark.parametrize(
    ("provider", "name", "promise"),
    [
        (Wasteful, "shares_one_load_among_all_who_ask_at_once", "loaded once for all who ask, not 6 times"),
        (Fickle, "shares_one_load_among_all_who_ask_at_once", "get the same one"),
        (Forgetful, "describes_what_is_loaded", "the engine's description"),
        (Boastful, "describes_what_is_loaded", "nothing is known"),
        (Silent, "tells_the_state_of_what_was_asked_for", "what was loaded is ready"),
        (Open, "closes_its_engines", "refuses with OverloadedError"),
        (Careless, "closes_its_engines", "refuses with OverloadedError"),
        (Open, "hands_out_nothing_once_closed", "refuses with OverloadedError"),
        (Stuck, "survives_one_who_stops_waiting", "an engine is handed out, within 0.05 s"),
    ],
)
async def test_a_broken_promise_is_told(
    provider: Callable[[], EngineProvider], name: str, promise: str, request_for: RequestFactory
) -> None:
    (check,) = [check for check in PROVIDER_CHECKS if check.__name__ == name]
    with pytest.raises(ContractBrokenError, match=promise):
        await check(case_of(provider, request_for, patience_s=0.05))
