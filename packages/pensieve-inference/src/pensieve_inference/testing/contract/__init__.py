"""What every implementation of the Protocols must do, as checks to run against your own.

    @pytest.mark.parametrize("check", [*ENGINE_CHECKS, *MAX_TOKENS_CHECKS], ids=check_name)
    async def test_keeps_the_engine_contract(check: EngineCheck) -> None:
        await check(EngineCase(open_engine=open_my_engine, request=request_factory))

A check returns, or raises `ContractBrokenError` with a sentence. Nothing here needs pytest, knows an implementation, or
cares what text a model produces; a real model may run through it as well as a fake.
"""

from pensieve_inference.testing.contract._catalog import CATALOG_CHECKS, CatalogCheck
from pensieve_inference.testing.contract._engine import (
    ENGINE_CHECKS,
    MAX_TOKENS_CHECKS,
    EngineCase,
    EngineCheck,
    RequestFactory,
)
from pensieve_inference.testing.contract._events import check_transcript
from pensieve_inference.testing.contract._expect import ContractBrokenError, check_name
from pensieve_inference.testing.contract._files import FILE_STORE_CHECKS, FileStoreCase, FileStoreCheck
from pensieve_inference.testing.contract._loader import LOADER_CHECKS, LoaderCase, LoaderCheck, LoadingProvider
from pensieve_inference.testing.contract._provider import PROVIDER_CHECKS, ProviderCase, ProviderCheck

__all__ = [
    "CATALOG_CHECKS",
    "ENGINE_CHECKS",
    "FILE_STORE_CHECKS",
    "LOADER_CHECKS",
    "MAX_TOKENS_CHECKS",
    "PROVIDER_CHECKS",
    "CatalogCheck",
    "ContractBrokenError",
    "EngineCase",
    "EngineCheck",
    "FileStoreCase",
    "FileStoreCheck",
    "LoaderCase",
    "LoaderCheck",
    "LoadingProvider",
    "ProviderCase",
    "ProviderCheck",
    "RequestFactory",
    "check_name",
    "check_transcript",
]
