"""Ours: the provider of GGUF engines keeps the promises that every plugin makes."""

from __future__ import annotations

from typing import Any

import psutil
import pytest

from pensieve_core import ModelDescriptor
from pensieve_gguf import GgufSettings, create_provider
from pensieve_inference import EngineProvider, SystemClock
from pensieve_inference.testing.contract import PROVIDER_CHECKS, ProviderCase, ProviderCheck, check_name

pytestmark = pytest.mark.model


@pytest.mark.parametrize("check", PROVIDER_CHECKS, ids=check_name)
async def test_keeps_the_provider_contract(check: ProviderCheck, smollm2: ModelDescriptor, client: Any) -> None:
    async def open_provider() -> EngineProvider:
        return create_provider(GgufSettings(context_tokens=256, threads=1), SystemClock())

    def workers(_: EngineProvider) -> int:
        return len(psutil.Process().children())

    await check(ProviderCase(open_provider=open_provider, model=smollm2, request=client.request, loads=workers))
