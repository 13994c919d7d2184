"""The example of an engine plugin against a real second server on loopback: another Pensieve, with the starter model.

In both of its dialects it passes the checks that the engines of Pensieve itself pass, and serves the real Claude Code.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pensieve_upstream import UpstreamProvider, UpstreamSettings, create_provider

from pensieve_core import GenerationRequest, ModelId, RequestId, Role, Sampling, TextPart, Turn
from pensieve_inference import EngineProvider, InferenceEngine, SystemClock
from pensieve_inference.testing.contract import (
    ENGINE_CHECKS,
    MAX_TOKENS_CHECKS,
    PROVIDER_CHECKS,
    EngineCase,
    EngineCheck,
    ProviderCase,
    ProviderCheck,
    check_name,
)

pytestmark = [pytest.mark.e2e, pytest.mark.model, pytest.mark.timeout(600)]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "pensieve-upstream"
CONTEXT = 2_048
_ids = itertools.count(1)


@pytest.fixture(scope="module")
def upstream(start_shared_server: Callable[..., Any], starter_model: Path) -> Any:
    return start_shared_server("--model", str(starter_model), "--ctx", str(CONTEXT))


@pytest.fixture(params=["anthropic", "openai"])
def settings(upstream: Any, request: pytest.FixtureRequest) -> UpstreamSettings:
    model = httpx2.get(f"{upstream.url}/v1/models", timeout=60).json()["data"][0]["id"]
    told = CONTEXT if request.param == "openai" else None  # OpenAI's list of models has no word for it
    return UpstreamSettings(url=upstream.url, model=model, dialect=request.param, max_running=3, context_tokens=told)


def asking(text: str, *, max_tokens: int) -> GenerationRequest:
    return GenerationRequest(
        id=RequestId(f"req_{next(_ids)}"),
        model=ModelId("any"),
        turns=(Turn(role=Role.USER, parts=(TextPart(text=text),)),),
        max_tokens=max_tokens,
        sampling=Sampling(temperature=0.0),
    )


@pytest.mark.parametrize("check", [*ENGINE_CHECKS, *MAX_TOKENS_CHECKS], ids=check_name)
async def test_it_keeps_the_engine_contract(check: EngineCheck, settings: UpstreamSettings) -> None:
    async def open_engine() -> InferenceEngine:
        provider = create_provider(settings, SystemClock())
        return await provider.engine(provider.models()[0])

    await check(EngineCase(open_engine=open_engine, request=asking))


@pytest.mark.parametrize("check", PROVIDER_CHECKS, ids=check_name)
async def test_it_keeps_the_provider_contract(check: ProviderCheck, settings: UpstreamSettings) -> None:
    async def open_provider() -> EngineProvider:
        return create_provider(settings, SystemClock())

    (model,) = UpstreamProvider(settings, SystemClock()).models()
    await check(ProviderCase(open_provider=open_provider, model=model, request=asking))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the example as a stranger's package, into a folder of its own."""
    folder = tmp_path_factory.mktemp("plugins")
    options = ("--quiet", "--no-deps", "--target", str(folder))
    subprocess.run(("uv", "pip", "install", *options, str(EXAMPLE)), check=True, timeout=120)
    return folder


def test_claude_code_is_served_through_the_plugin(
    claude_code: Any,
    terse: Mapping[str, str],
    start_server: Callable[..., Any],
    installed: Path,
    settings: UpstreamSettings,
) -> None:
    before = _totals(settings)["answers"]
    server = start_server(
        *("--engine", "upstream"),
        *(("--ctx", str(settings.context_tokens)) if settings.context_tokens else ()),
        PYTHONPATH=os.pathsep.join(filter(None, (str(installed), os.environ.get("PYTHONPATH")))),
        PENSIEVE_UPSTREAM_URL=settings.url,
        PENSIEVE_UPSTREAM_MODEL=settings.model,
        PENSIEVE_UPSTREAM_DIALECT=settings.dialect,
    )
    assert server.workers() == []  # nothing is computed here
    said = claude_code.run("Say hello.", "--bare", url=server.url, **terse)
    assert said.returncode == 0, said.stdout + said.stderr + server.tail()
    assert said.stdout.strip()
    assert _totals(settings)["answers"] > before


def _totals(settings: UpstreamSettings) -> dict[str, int]:
    totals: dict[str, int] = httpx2.get(f"{settings.url}/status", timeout=60).json()["totals"]
    return totals
