"""Never run: mypy reads it (`make types`). Classes of strangers satisfy our Protocols without importing them.

A wrong one does not: each is assigned where mypy is told to expect an error; were there none, mypy would say so.
"""

import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import attrs

from pensieve_cli.printing import print_json
from pensieve_core import (
    Clock,
    EngineDescription,
    EngineStatus,
    GenerationEvent,
    GenerationRequest,
    ModelDescriptor,
    ModelId,
    PromptUsage,
    TextProduced,
)
from pensieve_gguf.parsers import OpenCall, OutputParser, ParsedEvent
from pensieve_inference import EngineProvider, Generation, InferenceEngine, ModelCatalog
from pensieve_registry import FolderSource, Found, FoundFile, HubFile, LocalCatalog, ModelSource, Unreadable
from pensieve_registry.hub import Body, HubSource, Meter, RemoteRepository, Transfer


class Remote:
    """A generation that a stranger's server computes."""

    def __init__(self, prompt: PromptUsage) -> None:
        self.prompt = prompt

    def __aiter__(self) -> AsyncIterator[GenerationEvent]:
        return self

    async def __anext__(self) -> TextProduced:
        raise StopAsyncIteration

    def cancel(self) -> None: ...

    async def aclose(self) -> None: ...


class RemoteEngine:
    def __init__(self, description: EngineDescription) -> None:
        self.description = description

    async def generate(self, request: GenerationRequest) -> Remote:
        return Remote(PromptUsage(prompt_tokens=len(request.turns)))

    async def count_tokens(self, request: GenerationRequest) -> int:
        return len(request.turns)

    async def aclose(self) -> None: ...


class RemoteProvider:
    """As the entry point of a plugin makes it."""

    async def engine(self, model: ModelDescriptor) -> RemoteEngine:
        description = EngineDescription(
            model=model, engine="theirs", context_tokens=1, max_sequences=1, threads=1, gpu_layers=0
        )
        return RemoteEngine(description)

    def loaded(self, model: ModelId) -> None: ...

    def statuses(self) -> tuple[EngineStatus, ...]:
        return ()

    async def aclose(self) -> None: ...


@attrs.frozen(kw_only=True)
class RemoteSettings:
    context_tokens: int = 8_192


def plugin(settings: RemoteSettings, clock: Clock) -> EngineProvider:
    return RemoteProvider()


class OneModelCatalog:
    def __init__(self, only: ModelDescriptor) -> None:
        self.only = only

    def models(self) -> tuple[ModelDescriptor, ...]:
        return (self.only,)

    def aliases(self) -> dict[str, ModelId]:
        return {}

    def resolve(self, name: str) -> ModelDescriptor:
        return self.only


class PlainSource:
    """The least that a source has to be."""

    name = "network share"

    def find(self) -> list[Path]:
        return [Path("/mnt/share/m.gguf")]


class TellingSource:
    """All that it can be."""

    @property
    def name(self) -> str:
        return "their store"

    def find(self) -> Iterator[Found]:
        yield FoundFile(path=Path("blob"), name="ada:7b", projector=Path("eyes"), adapters=(Path("sql"),))
        yield Unreadable(path=Path("/mnt"), reason="is not mounted")
        yield Path("m.gguf")


class ShoutingParser:
    """A formatter: what a model of theirs says becomes events."""

    called = thinking = holds = done = False
    opened: OpenCall | None = None
    broken = 0

    def feed(self, text: str) -> tuple[ParsedEvent, ...]:
        return (TextProduced(text=text.upper()),)

    def finish(self) -> tuple[ParsedEvent, ...]:
        return ()


class Mirror:
    """A hub of their own."""

    @contextmanager
    def open(self, repository: RemoteRepository, name: HubFile, offset: int) -> Iterator[Body]:
        yield Body(offset=offset, chunks=iter([b""]))


class Silence:
    def moved(self, done_bytes: int, fetched_bytes: int) -> None: ...

    def retrying(self, reason: str, pause_s: float) -> None: ...


@attrs.frozen(kw_only=True)
class TheirReport:
    models: int


generation: type[Generation] = Remote
engine: type[InferenceEngine] = RemoteEngine
provider: type[EngineProvider] = RemoteProvider
catalog: type[ModelCatalog] = OneModelCatalog
sources: list[ModelSource] = [PlainSource(), TellingSource()]
parser: type[OutputParser] = ShoutingParser
meter: type[Meter] = Silence


def they_are_taken(repository: RemoteRepository, stop: threading.Event) -> None:
    LocalCatalog([PlainSource(), TellingSource(), FolderSource(Path("models"))])
    hub: HubSource = Mirror()
    Transfer(source=hub, repository=repository, stop=stop)
    with Path("report.json").open("w", encoding="utf-8") as file:
        print_json(TheirReport(models=1), file)
        print_json({"models": 1}, file)  # type: ignore[arg-type]


class ReluctantGeneration(Remote):
    async def cancel(self) -> None:  # type: ignore[override]
        """Cancelling may not wait: whoever calls it is about to leave."""


class HastyEngine(RemoteEngine):
    def count_tokens(self, request: GenerationRequest) -> int:  # type: ignore[override]
        """Counting renders and tokenises, which may wait."""
        return 0


class EngineOfTexts(RemoteEngine):
    async def generate(self, request: GenerationRequest) -> Iterable[str]:  # type: ignore[override]
        """Texts are no events: nobody would learn how it ended."""
        return ()


class EndlessProvider:
    """It cannot be closed."""

    async def engine(self, model: ModelDescriptor) -> RemoteEngine:
        raise NotImplementedError

    def loaded(self, model: ModelId) -> None: ...

    def statuses(self) -> tuple[EngineStatus, ...]:
        return ()


class CatalogOfNames(OneModelCatalog):
    def aliases(self) -> Mapping[str, int]:  # type: ignore[override]
        return {}


class NamelessSource:
    def find(self) -> Iterable[Path]:
        return ()


class SourceOfTexts:
    name = "paths as text"

    def find(self) -> Iterable[str]:
        return ("m.gguf",)


class HalfParser:
    called = thinking = holds = done = False
    opened: OpenCall | None = None
    broken = 0

    def feed(self, text: str) -> str:
        """It formats, but tells no events; and it has no end."""
        return text.upper()


class MirrorOfBytes:
    def open(self, repository: RemoteRepository, name: str, offset: int) -> AbstractContextManager[bytes]:
        raise NotImplementedError


wrong_generation: type[Generation] = ReluctantGeneration  # type: ignore[assignment]
hasty: type[InferenceEngine] = HastyEngine  # type: ignore[assignment]
of_texts: type[InferenceEngine] = EngineOfTexts  # type: ignore[assignment]
endless: type[EngineProvider] = EndlessProvider  # type: ignore[assignment]
of_names: type[ModelCatalog] = CatalogOfNames  # type: ignore[assignment]
nameless: ModelSource = NamelessSource()  # type: ignore[assignment]
paths_as_text: ModelSource = SourceOfTexts()  # type: ignore[assignment]
half: type[OutputParser] = HalfParser  # type: ignore[assignment]
of_bytes: HubSource = MirrorOfBytes()  # type: ignore[assignment]
LocalCatalog([SourceOfTexts()])  # type: ignore[list-item]
