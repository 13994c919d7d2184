"""Never run: mypy reads it (`make types`). What satisfies which Protocol, and what types users of the packages see."""

from collections.abc import Mapping
from pathlib import Path
from typing import assert_type

from pensieve_core import (
    Clock,
    EngineDescription,
    GenerationEvent,
    GenerationRequest,
    ModelDescriptor,
    ModelId,
    PromptUsage,
)
from pensieve_inference import (
    EngineLoader,
    EngineProvider,
    FileReader,
    FileStore,
    Generation,
    InferenceEngine,
    ModelCatalog,
    SystemClock,
    Upload,
)
from pensieve_inference.testing import (
    FakeClock,
    InMemoryCatalog,
    InMemoryFileStore,
    InMemoryUpload,
    ScriptedEngine,
    ScriptedGeneration,
    ScriptedProvider,
    make_descriptor,
)
from pensieve_registry import (
    FileSource,
    FolderSource,
    GgufHeader,
    HuggingFaceCacheSource,
    InstalledDistributionSource,
    LmStudioSource,
    LocalCatalog,
    ModelSource,
    OllamaSource,
    read_gguf_header,
)

clocks: list[type[Clock]] = [SystemClock, FakeClock]
engines: list[type[InferenceEngine]] = [ScriptedEngine]
generations: list[type[Generation]] = [ScriptedGeneration]
stores: list[type[FileStore]] = [InMemoryFileStore]
readers: list[type[FileReader]] = [InMemoryFileStore]
uploads: list[type[Upload]] = [InMemoryUpload]
providers: list[type[EngineProvider]] = [ScriptedProvider]
loaders: list[type[EngineLoader]] = [ScriptedProvider]
catalogs: list[type[ModelCatalog]] = [InMemoryCatalog, LocalCatalog]
sources: list[type[ModelSource]] = [
    FileSource,
    FolderSource,
    HuggingFaceCacheSource,
    InstalledDistributionSource,
    LmStudioSource,
    OllamaSource,
]


async def a_consumer_of_engines(provider: EngineProvider, request: GenerationRequest) -> None:
    engine = assert_type(await provider.engine(make_descriptor()), InferenceEngine)
    assert_type(engine.description, EngineDescription)
    assert_type(await engine.count_tokens(request), int)
    generation = assert_type(await engine.generate(request), Generation)
    assert_type(generation.prompt, PromptUsage)
    async for event in generation:
        assert_type(event, GenerationEvent)
    generation.cancel()


def a_consumer_of_catalogs(catalog: ModelCatalog) -> None:
    assert_type(catalog.models(), tuple[ModelDescriptor, ...])
    assert_type(catalog.aliases(), Mapping[str, ModelId])
    assert_type(catalog.resolve("claude-opus-4-8"), ModelDescriptor)


def a_reader_of_headers(path: Path) -> None:
    header = assert_type(read_gguf_header(path), GgufHeader)
    assert_type(header.text("general.name"), str | None)
    assert_type(header.integer("llama.context_length"), int | None)


def ids_are_kept_apart(model: ModelId) -> None:
    InMemoryCatalog(aliases={"a": model})
    InMemoryCatalog(aliases={"a": "plain text"})  # type: ignore[dict-item]
